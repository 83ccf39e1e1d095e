"""Where `mds halt` cancels."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdslib.cli import run as mds
from mdslib.errors import BrokerError, SessionError
from mdslib.live import Session
from mdslib.live.halt import (
    HALT,
    VENUE,
    clear_halt,
    find_runs,
    halt_files,
    halted,
    refuse_if_halted,
    venue_of,
    venues,
    why_halted,
    write_halt,
)
from mdslib.live.verdict import ExitCode, Verdict


def test_a_runs_own_venue_is_where_its_orders_are_canceled(tmp_path) -> None:
    (tmp_path / VENUE).write_text("http://127.0.0.1:8765\n", encoding="utf-8")
    assert venue_of(tmp_path) == "http://127.0.0.1:8765"


def test_a_folder_of_all_runs_names_no_venue(tmp_path) -> None:
    assert venue_of(tmp_path) == ""


def test_who_halted_and_why_is_read_from_the_file(tmp_path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert why_halted(halt_files(run)) == "mds halt", "gone again"
    write_halt(tmp_path, "spreads\nlook  wrong")
    assert why_halted(halt_files(run)) == f"mds halt by {tmp_path.owner()}: spreads look wrong"
    write_halt(run, "x" * 2_000)
    assert why_halted(halt_files(run)).endswith("x" * 500), (
        "the run's own file is looked at first; no novel on the tape"
    )


def test_a_file_that_was_put_there_by_hand_need_not_say_why(tmp_path) -> None:
    (tmp_path / "HALT").touch()
    assert why_halted(halt_files(tmp_path)) == f"mds halt by {tmp_path.owner()}"


def test_a_file_that_cannot_be_read_halts_as_well(tmp_path) -> None:
    (tmp_path / "HALT").mkdir()
    assert why_halted(halt_files(tmp_path)).startswith("mds halt ([Errno 21] Is a directory")


PAPER = "https://paper-api.alpaca.markets"
LOCAL = "http://127.0.0.1:8765"


def run_at(folder: Path, url: str, verdict: Verdict | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / VENUE).write_text(f"{url}\n")
    if verdict is not None:
        verdict.write(folder)
    return folder


def test_a_folder_of_all_runs_halts_those_one_and_two_levels_below(tmp_path: Path) -> None:
    plain, demo = run_at(tmp_path / "runs" / "day", PAPER), run_at(tmp_path / "runs" / "demo" / "day", LOCAL)
    write_halt(tmp_path / "runs", "enough")
    assert halted(halt_files(plain))
    assert halted(halt_files(demo))
    assert find_runs(tmp_path / "runs") == [plain, demo]


def test_each_run_is_canceled_where_it_trades_once_and_ended_ones_are_left_alone(tmp_path: Path) -> None:
    run_at(tmp_path / "a", PAPER)
    run_at(tmp_path / "b", PAPER)
    run_at(tmp_path / "demo" / "c", LOCAL)
    run_at(tmp_path / "ended", "http://127.0.0.1:1", Verdict(ExitCode.OK, "fine"))
    assert venues(tmp_path) == [PAPER, LOCAL]
    assert venues(tmp_path / "ended") == ["http://127.0.0.1:1"], "a run that is named itself"


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(ExitCode.LEFT_OPEN, "one works"),
        Verdict(ExitCode.RECORD, "full"),
        Verdict(ExitCode.KERNEL, "it died", by="runner"),
    ],
)
def test_a_run_that_may_have_left_orders_is_canceled_as_well(tmp_path: Path, verdict: Verdict) -> None:
    run_at(tmp_path / "a", LOCAL, verdict)
    assert venues(tmp_path) == [LOCAL]


def test_a_damaged_verdict_proves_nothing(tmp_path: Path) -> None:
    (run_at(tmp_path / "a", LOCAL) / "verdict.json").write_text("{")
    assert venues(tmp_path) == [LOCAL]


def test_a_forgotten_halt_blocks_the_next_start_and_says_how_to_clear_it(tmp_path: Path) -> None:
    write_halt(tmp_path, "spreads look wrong")
    with pytest.raises(
        SessionError, match=r"this run may not start: .*HALT forbids new orders \(mds halt by .*: spreads"
    ):
        refuse_if_halted(tmp_path / "2025-06-13-m")
    session = Session.from_parameters(model="volume_modulo", date="2025-06-12", run_dir=str(tmp_path / "run"))
    with pytest.raises(SessionError, match="if that is over, run: mds halt --clear"):
        session.run()
    assert not (tmp_path / "run").exists(), "nothing was begun"
    assert clear_halt(tmp_path) == [tmp_path / HALT]
    refuse_if_halted(tmp_path / "2025-06-13-m")


def test_clearing_reaches_the_runs_below_and_refuses_where_nothing_is_halted(tmp_path: Path) -> None:
    inner = run_at(tmp_path / "demo" / "day", LOCAL)
    write_halt(inner, "x")
    assert mds(["halt", str(tmp_path), "--clear"]) == 0
    assert not (inner / HALT).exists()
    assert mds(["halt", str(tmp_path), "--clear"]) == 2


def test_every_venue_is_asked_however_the_others_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def cancel(url: str) -> str:
        asked.append(url)
        if url == LOCAL:
            raise BrokerError("it can't be reached")
        return "asked the broker to cancel 2 working orders"

    monkeypatch.setattr("mdslib.cli.live.cancel_at_broker", cancel)
    run_at(tmp_path / "a", LOCAL)
    run_at(tmp_path / "b", PAPER)
    assert mds(["halt", str(tmp_path)]) == 0
    assert asked == [LOCAL, PAPER]
    out = capsys.readouterr().out
    assert f"the local exchange at {LOCAL} does not answer" in out
    assert f"asked the broker to cancel 2 working orders at {PAPER}" in out
    assert mds(["halt", str(tmp_path / "a")]) == 1, "the only one"
    assert f"not canceled at {LOCAL}: it can't be reached; cancel at the venue's own page" in capsys.readouterr().err


def test_without_keys_new_orders_are_forbidden_and_it_says_that_nothing_was_canceled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_at(tmp_path / "a", LOCAL)
    for side in ("PUBLIC", "SECRET"):
        monkeypatch.delenv(f"ALPACA_TRADE_{side}_KEY")
    assert mds(["halt", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert told.out.startswith(f"halted: {tmp_path / HALT} forbids new orders;")
    assert told.err.startswith(
        f"mds: error: new orders are forbidden, but working orders were not canceled at {LOCAL}:"
    )
    assert "ALPACA_TRADE_SECRET_KEY must be set" in told.err
    assert told.err.count("\n") == 1
    assert halted(halt_files(tmp_path / "a"))


def test_a_folder_that_holds_no_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mds(["halt", str(tmp_path), "--no-cancel"]) == 2
    assert f"{tmp_path} holds no run, so nothing that runs sees" in capsys.readouterr().err
    monkeypatch.delenv("ALPACA_TRADE_PUBLIC_KEY")
    assert mds(["halt", str(tmp_path), "--trade-url", LOCAL]) == 2
    told = capsys.readouterr().err
    assert f"name a run's folder, or that of all. And working orders were not canceled at {LOCAL}: " in told
