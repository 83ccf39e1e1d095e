"""Reading fault scripts: what is taken, and the words that refuse the rest."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from mdslib.errors import ConfigError
from mdslib.sim.faults import KINDS, SEEN, Duration, Must, TimeOfDay, kinds, load_script, parse_script, what
from mdslib.sim.faults.kinds import fields_of
from mdslib.sim.faults.must import Seen
from mdslib.sim.faults.when import FOREVER, parse_duration, parse_time_of_day


def test_a_whole_script() -> None:
    script = parse_script(
        """
about = "Two faults."
expect = "Nothing is lost."
seed = 3

[[fault]]
what = "disconnect"
socket = "both"
at = 10:15:00
for = "30s"

[[fault]]
what = "http-error"
call = ["POST /v2/orders", "DELETE /v2/orders/{id}"]
status = 429
nth = 3
times = 2
chance = 0.5
""",
        "two.toml",
    )
    assert (script.name, script.about, script.expect, script.seed) == ("two", "Two faults.", "Nothing is lost.", 3)
    assert script.lines == (6, 12)
    first, second = script.faults
    assert isinstance(first, kinds.Disconnect)
    assert (first.socket, first.at, first.lasts, first.how) == (
        "both", TimeOfDay(36_900_000_000_000), Duration(30_000_000_000), "cut",
    )  # fmt: skip
    assert isinstance(second, kinds.HttpError)
    assert (second.status, second.nth, second.times, second.chance) == (429, 3, 2, 0.5)


def test_what_a_session_must_do_is_part_of_a_script() -> None:
    text = '[must]\nexit = "CONFIG"\nsee = ["gap", "halt"]\nlost = "told"\nlasts = "40s real"\n[[fault]]\nwhat = "mute"'
    must = parse_script(text).must
    assert (must.exit, must.see, must.lost, must.books) == ("CONFIG", ["gap", "halt"], "told", "agree")
    assert must.lasts == Duration(40_000_000_000, real=True)
    assert parse_script('[[fault]]\nwhat = "mute"').must == Must()


def test_the_words_of_what_is_seen_are_explained() -> None:
    assert set(get_args(Seen)) == set(SEEN)


def test_a_script_goes_to_another_process_unchanged() -> None:
    script = load_script("storm")
    assert pickle.loads(pickle.dumps(script)) == script


@pytest.mark.parametrize(
    ("text", "ns", "real"),
    [
        ("250ms", 250_000_000, False), ("1.5s", 1_500_000_000, False), ("2m", 120_000_000_000, False),
        ("1h", 3_600_000_000_000, False), ("2s real", 2_000_000_000, True), ("-3s", -3_000_000_000, False),
        ("day", FOREVER, False),
    ],
)  # fmt: skip
def test_lengths(text: str, ns: int, real: bool) -> None:
    assert parse_duration(text) == Duration(ns, real=real)
    assert parse_duration(str(parse_duration(text))) == parse_duration(text)


@pytest.mark.parametrize("text", ["9:30", "24:00", "09:60", "09:30:60", "09:30:00.1234", "noon", 930])
def test_no_time_of_day(text: object) -> None:
    with pytest.raises(ValueError, match="a time of day at the exchange, like"):
        parse_time_of_day(text)


@pytest.mark.parametrize("text", ["09:30", "15:59:30.5", "00:00:01"])
def test_times_of_day_are_written_as_they_were_read(text: str) -> None:
    assert str(parse_time_of_day(text)) == text


def refused(text: str) -> str:
    """Return the error of a script."""
    with pytest.raises(ConfigError) as error:
        parse_script(text, "bad.toml")
    return str(error.value)


def fault(what: str, *lines: str) -> str:
    return "\n".join(["# a comment", "[[fault]]", f'what = "{what}"', *lines])


def must(line: str) -> str:
    return f"[must]\n{line}\n{fault('mute')}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = [", "fault script bad.toml: no TOML: Invalid value (at end of document)"),
        ("", "fault script bad.toml must have at least one [[fault]], received none"),
        ("fault = 3", "fault script bad.toml must have at least one [[fault]], received none"),
        ("\nabuot = 'x'", "line 2: 'abuot' is no entry of a script. Did you mean 'about'?"),
        ("seed = 'x'\n[[fault]]\nwhat = 'mute'", "line 1: seed must be a whole number, received 'x'"),
        ("[[fault]]\nat = 10:00:00", "line 1: a fault must say what it is, like what = \"mute\". Known: burst, "),
        (fault("disconect"), "line 3: fault 'disconect' is unknown. Did you mean 'disconnect'?"),
        (fault("mute", "fro = '3s'"), "line 4: mute has no field 'fro'. Did you mean 'for'?"),
        (fault("mute", "status = 4"), "line 4: mute has no field 'status'. Known: after, after_events, after_orders"),
        (fault("mute", "", "for = 3"), 'line 5: mute.for: expected a length like "250ms", "90s", "2m", "1h", "2s real" '
                                       'or "day", received 3'),
        (fault("mute", "at = '9h'"), 'line 4: mute.at: expected a time of day at the exchange, like "10:15" or '
                                     "\"10:15:30.250\", received '9h'"),
        (fault("http-error"), "line 2: http-error: status is missing, HTTP status; add it"),
        (fault("http-error", "status = 200"), "line 4: http-error.status: expected `int` >= 400, received 200"),
        (fault("http-error", "status = '500'"), "line 4: http-error.status: expected `int`, got `str`, received '500'"),
        (fault("http-error", "status = 500", "taken = 'late'"), "line 5: http-error.taken: expected one of never, "
                                                                "first, received 'late'"),
        (fault("drop", "chance = 2"), "line 4: drop.chance: expected `float` <= 1.0, received 2"),
        (fault("drop", "nth = 0"), "line 4: drop.nth: expected `int` >= 1, received 0"),
        (fault("drop", "only = ['trade']"), "line 4: drop.only must name what the socket data sends, received 'trade'. "
                                            "Did you mean 'trades'?"),
        (fault("drop", "socket = 'updates'", "only = ['fills']"), "line 5: drop.only must name what the socket updates "
                                                                  "sends, received 'fills'. Did you mean 'fill'?"),
        (fault("http-hang", "call = 'POST /v2/order'"), "line 4: http-hang.call must be 'any' or one of the exchange's "
                                                        "calls, received 'POST /v2/order'. Did you mean 'POST /v2/or"),
        (fault("mute", "at = '10:00'", "after = '3s'"), "line 5: mute.after must not stand beside at: a fault has one "
                                                        "time to come; leave one out"),
        (fault("mute", "every = '3s'"), "line 4: mute.every repeats a fault that comes at a time; add at or after"),
        (fault("mute", "after = '3s'", "every = '0s'"), 'line 5: mute.every must be at least 1 ms, received "0s"'),
        (fault("mute", "for = '-3s'"), 'line 4: mute.for must not be negative, received "-3s"'),
        (fault("mute", "after = '3s real'"), "line 4: mute.after is the day's time, and only for and delay may be "
                                             'real; received "3s real"'),
        (fault("latency", "by = '3s real'"), "line 4: latency.by is the day's time"),
        (fault("burst"), 'line 2: burst.for must say how long messages are held back, like for = "10s"'),
        (fault("http-cut", "half = true"), 'line 4: http-cut.half needs an answer to cut in half; add taken = "first"'),
        (must("exit = 'CONFIGG'"), "line 2: must.exit: expected one of OK, AUDIT_FAILED, CONFIG, MODEL_RAISED, VENUE, "
                                   "LEFT_OPEN, received 'CONFIGG'"),
        (must("see = ['gap', 'gop']"), "line 2: must.see: expected one of gap, backfill,"),
        (must("sea = []"), "line 2: must has no field 'sea'. Did you mean 'see'?"),
        (must("lasts = 3"), 'line 2: must.lasts: expected a length like "250ms"'),
        ("must = 3\n" + fault("mute"), "line 1: must is a table of its own, [must], received 3"),
        ("fault = [{what = 'mut'}]", "bad.toml: fault 'mut' is unknown. Did you mean 'mute'?"),
    ],
)  # fmt: skip
def test_errors_say_file_line_rule_and_remedy(text: str, words: str) -> None:
    said = refused(text)
    assert said.startswith("fault script bad.toml")
    assert words in said


def test_the_line_is_that_of_the_right_fault() -> None:
    text = '[[fault]]\nwhat = "mute"\nfor = "3s"\n\n[[fault]]\nwhat = "drop"\nfor = "3s"\ntimes = 0\n'
    assert refused(text).startswith("fault script bad.toml, line 8: drop.times")


def test_files_that_are_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fault script 'strom' is unknown\. Did you mean 'storm'\?"):
        load_script("strom")
    with pytest.raises(ConfigError, match=r"fault script 'strom\.toml' is no file\. Did you mean 'storm'\?"):
        load_script("strom.toml")
    with pytest.raises(ConfigError, match=r"x\.toml can't be read: No such file or directory; name a TOML file, or"):
        load_script(tmp_path / "x.toml")
    binary = tmp_path / "b.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="it is no UTF-8 text"):
        load_script(binary)


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[[fault]]\nwhat = "restart"\n')
    assert (load_script(path).name, load_script(str(path)).faults) == ("mine", (kinds.Restart(),))


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_says_what_it_is_and_what_its_fields_mean(name: str) -> None:
    kind = KINDS[name]
    assert kind.group, "a kind belongs to a group of the reference page"
    assert (kind.__doc__ or "").strip()
    for said, (_, hint) in fields_of(kind).items():
        assert any(getattr(meta, "description", None) for meta in hint.__metadata__), said


def test_the_script_in_the_documentation_is_one() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "fault-scripts.md").read_text("utf-8")
    text = page.partition("```toml\n")[2].partition("```")[0]
    assert [what(entry) for entry in parse_script(text).faults] == ["disconnect", "http-error"]


def test_naming_a_script_imports_neither_server_nor_compiler() -> None:
    code = "import sys, mdslib.sim; print([n for n in ('uvicorn', 'starlette', 'mdslib.sim.core') if n in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
