"""Sessions: full days, half days, holidays, both changes of the clocks, and markets that never close."""

from __future__ import annotations

import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdslib import calendar
from mdslib.errors import ConfigError

NEW_YORK = ZoneInfo("America/New_York")
HOUR = 3_600_000_000_000


def local(ts: int) -> str:
    """New York's wall time of a ns time stamp."""
    return datetime.datetime.fromtimestamp(ts // 10**9, NEW_YORK).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("date", "close", "utc_open"),
    [
        ("2013-10-08", "16:00", "13:30"),  # summer time
        ("2013-12-10", "16:00", "14:30"),  # winter time
        ("2024-03-08", "16:00", "14:30"),  # the Friday before clocks go forward
        ("2024-03-11", "16:00", "13:30"),  # the Monday after
        ("2024-11-01", "16:00", "13:30"),  # the Friday before clocks go back
        ("2024-11-04", "16:00", "14:30"),
        ("2024-11-29", "13:00", "14:30"),  # the day after Thanksgiving
        ("2024-07-03", "13:00", "13:30"),
        ("2019-12-24", "13:00", "14:30"),
    ],
)
def test_new_york_hours(date: str, close: str, utc_open: str) -> None:
    day = calendar.session(date)
    assert day is not None
    assert local(day.open) == f"{date} 09:30"
    assert local(day.close) == f"{date} {close}"
    assert local(day.pre_open) == f"{date} 04:00"
    assert local(day.post_close) == f"{date} {'20:00' if close == '16:00' else '17:00'}"
    opened = datetime.datetime.fromtimestamp(day.open // 10**9, datetime.UTC)
    assert opened.strftime("%H:%M") == utc_open


@pytest.mark.parametrize(
    ("date", "reason"),
    [
        ("2024-11-28", "Thanksgiving"),
        ("2024-12-25", "Christmas"),
        ("2012-10-29", "a special closure"),  # hurricane Sandy
        ("2013-10-12", "Saturday"),
        ("2013-10-13", "Sunday"),
    ],
)
def test_closed_days_and_why(date: str, reason: str) -> None:
    assert calendar.session(date) is None
    assert not calendar.is_session(date)
    assert calendar.why_closed(date) == reason


@given(st.dates(datetime.date(1986, 1, 1), datetime.date(2030, 12, 31)))
def test_every_session_opens_at_half_past_nine_local_whatever_the_season(date: datetime.date) -> None:
    day = calendar.session(date)
    if day is None:
        return
    assert local(day.open) == f"{date} 09:30"
    assert (day.close - day.open) / HOUR in (6.5, 3.5, 4.0, 4.5, 5.0, 5.5, 5.75, 6.0)
    assert day.pre_open < day.open < day.close <= day.post_close


@given(st.dates(datetime.date(1986, 1, 1), datetime.date(2030, 12, 1)))
def test_next_session_is_the_first_day_that_is_one(date: datetime.date) -> None:
    found = calendar.next_session(date)
    between = (date + datetime.timedelta(days=step) for step in range(1, (found.date - date).days))
    assert found.date > date
    assert not any(calendar.is_session(day) for day in between)


def test_sessions_of_a_year() -> None:
    days = calendar.sessions("2013-01-01", "2013-12-31")
    assert len(days) == 252
    assert [day.open for day in days] == sorted(day.open for day in days)


def test_crypto_trades_from_midnight_to_midnight_utc() -> None:
    day = calendar.session("2024-03-10", "24/7")
    assert day is not None
    assert day.open == day.pre_open == 1_710_028_800 * 10**9
    assert day.close - day.open == 24 * HOUR
    assert len(calendar.sessions("2024-02-28", "2024-03-01", "24/7")) == 3


def test_session_at_a_time() -> None:
    day = calendar.session("2013-10-08")
    assert day is not None
    assert calendar.session_at(day.pre_open) == day
    assert calendar.session_at(day.post_close - 1) == day
    assert calendar.session_at(day.post_close) is None
    assert calendar.session_at(day.open + 24 * HOUR * 4) is None  # a Saturday


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: calendar.session("2013-10-08", "NYSEE"), "exchange 'NYSEE' is not known. Did you mean 'NYSE'"),
        (lambda: calendar.session("2013-10-08", "nyse"), "Did you mean 'NYSE'"),
        (lambda: calendar.session("2013-10-08", "qqqq"), "Use NYSE, NASDAQ, 24/7, or another name"),
        (lambda: calendar.parse_date("08.10.2013"), "must be YYYY-MM-DD and exist, received '08.10.2013'"),
        (lambda: calendar.parse_date("2013-02-30"), "received '2013-02-30'"),
        (lambda: calendar.parse_date(datetime.datetime(2013, 1, 1, tzinfo=datetime.UTC)), "no time of day"),
        (lambda: calendar.sessions("2013-10-09", "2013-10-08"), "the end must not lie before the start"),
    ],
)
def test_bad_input_is_named(call: object, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        call()


def test_the_cache_gives_what_the_library_gives_and_a_damaged_one_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calendar._year.cache_clear()
    first = calendar.sessions("2013-01-01", "2013-12-31")
    (file,) = tmp_path.rglob("NYSE-2013-*.json")
    calendar._year.cache_clear()
    assert calendar.sessions("2013-01-01", "2013-12-31") == first
    file.write_text("{not json")
    calendar._year.cache_clear()
    assert calendar.sessions("2013-01-01", "2013-12-31") == first
    assert file.read_text().startswith("[[")
    calendar._year.cache_clear()


def test_a_session_lies_in_the_zone_of_its_exchange() -> None:
    assert calendar.zone("NYSE").key == "America/New_York"
    assert calendar.zone("24/7").key == "UTC"
    assert calendar.zone("LSE").key == "Europe/London"
