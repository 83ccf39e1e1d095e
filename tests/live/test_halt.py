"""Where `mds halt` cancels."""

from __future__ import annotations

from mdslib.live.halt import VENUE, halt_files, venue_of, why_halted, write_halt


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
