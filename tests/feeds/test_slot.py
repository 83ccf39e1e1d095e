"""The account's only data connection: one process of this machine holds it, whatever becomes of that process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mdslib.errors import ConfigError, FeedRefused
from mdslib.feeds.slot import Slot, slot_folder

URL = "wss://host/v2/iex"
HOLD = """
import sys
from pathlib import Path
from mdslib.feeds.slot import Slot
Slot(sys.argv[1], "AK", Path(sys.argv[2])).take()
print("held", flush=True)
sys.stdin.read()
"""


def test_alpaca_py_248_a_second_session_is_refused_by_name_before_it_connects(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, URL, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(FeedRefused, match=f"process {other.pid} of this machine holds the account's only") as met:
            Slot(URL, "AK", tmp_path).take()
        assert met.value.code == 406
        other.kill()  # however it ends
    Slot(URL, "AK", tmp_path).take()


def test_another_key_or_address_is_another_slot(tmp_path: Path) -> None:
    with Slot(URL, "AK", tmp_path), Slot(URL, "OTHER", tmp_path), Slot("wss://host/v2/sip", "AK", tmp_path):
        pass


def test_taken_twice_by_one_and_given_back_twice_does_no_harm(tmp_path: Path) -> None:
    slot = Slot(URL, "AK", tmp_path)
    slot.take()
    slot.take()
    assert slot.holder == str(os.getpid())
    slot.give_back()
    slot.give_back()
    assert slot.holder == ""
    with Slot(URL, "AK", tmp_path):
        pass


def test_the_key_is_not_in_the_file_or_its_name(tmp_path: Path) -> None:
    with Slot(URL, "AKVERYPUBLIC", tmp_path) as slot:
        assert "AKVERYPUBLIC" not in slot.path.name + slot.path.read_text()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"can't be made .* set MDSLIB_CACHE_DIR to a folder that can be written"):
        Slot(URL, "AK", tmp_path / "file" / "below").take()


def test_the_folder_is_the_user_s_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDSLIB_CACHE_DIR", "/somewhere")
    assert slot_folder() == Path("/somewhere/connections")
    monkeypatch.delenv("MDSLIB_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert slot_folder() == Path("/cache/mdslib/connections")
    assert Slot(URL, "AK").path.parent == slot_folder()
