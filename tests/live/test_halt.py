"""Where `mds halt` cancels."""

from __future__ import annotations

from mdslib.live.halt import VENUE, venue_of


def test_a_runs_own_venue_is_where_its_orders_are_canceled(tmp_path) -> None:
    (tmp_path / VENUE).write_text("http://127.0.0.1:8765\n", encoding="utf-8")
    assert venue_of(tmp_path) == "http://127.0.0.1:8765"


def test_a_folder_of_all_runs_names_no_venue(tmp_path) -> None:
    assert venue_of(tmp_path) == ""
