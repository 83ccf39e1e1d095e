"""The time limits of a run, without clocks or processes."""

from __future__ import annotations

from mdslib.live.guards import Action, Guards, Seen, Watch

RUNNING = Seen(cell=True)


def test_no_cell_in_time_kills() -> None:
    watch = Watch(Guards(start=10), 0)
    assert watch.tick(10, Seen()) is None
    assert watch.tick(10.1, Seen()) is Action.KILL
    assert watch.overdue == "no cell began within 10 s"


def test_a_stop_is_asked_once_repeated_late_and_then_enforced() -> None:
    watch = Watch(Guards(stop=30), 0)
    assert watch.ask(100) is Action.ASK
    assert watch.ask(101) is None
    assert [watch.tick(now, RUNNING) for now in (110, 119, 121, 125, 131)] == [
        None, None, Action.ASK, None, Action.KILL,
    ]  # fmt: skip
    assert watch.overdue == "the session did not end within 30 s of being asked to stop"


def test_a_verdict_lifts_the_stop_limit_and_starts_the_reports() -> None:
    watch = Watch(Guards(stop=30, report=60), 0)
    watch.ask(100)
    done = Seen(cell=True, verdict=True)
    assert [watch.tick(now, done) for now in (120, 140, 179)] == [None, None, None]
    assert watch.tick(181, done) is Action.KILL
    assert watch.overdue == "the cells after the session took more than 60 s"


def test_a_heartbeat_that_stands_still_is_a_hang_and_one_that_never_began_is_not() -> None:
    never = Watch(Guards(silence=5), 0)
    assert never.tick(60, Seen(cell=True)) is None
    watch = Watch(Guards(silence=5, stop=30), 0)
    assert watch.tick(1, Seen(cell=True, heartbeat=7)) is None
    assert watch.tick(6, Seen(cell=True, heartbeat=7)) is None
    assert watch.tick(6.5, Seen(cell=True, heartbeat=8)) is None
    assert watch.tick(12, Seen(cell=True, heartbeat=8)) is Action.KILL
    assert watch.overdue == "the session's heartbeat stood still for 5 s"


def test_a_run_is_alive_while_its_loop_turns_and_while_another_limit_holds() -> None:
    watch = Watch(Guards(silence=5, stop=30), 0)
    alive = []
    for now, seen in (
        (1, Seen()),  # the kernel starts, within `start`
        (2, Seen(cell=True, heartbeat=7)),
        (3, Seen(cell=True, heartbeat=7)),  # the loop stands still
        (4, Seen(cell=True, heartbeat=8)),
        (5, Seen(cell=True, heartbeat=8, verdict=True)),  # the report's cells, within `report`
    ):
        watch.tick(now, seen)
        alive.append(watch.alive)
    assert alive == [True, True, False, True, True]


def test_a_papermill_that_does_not_return_after_the_kill_is_abandoned() -> None:
    watch = Watch(Guards(start=10, reap=5), 0)
    watch.tick(11, Seen())
    assert watch.tick(15, Seen()) is None
    assert watch.tick(17, Seen()) is Action.ABANDON
