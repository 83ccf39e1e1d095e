"""The raw capture beside a tape: whole frames, and a full disk is told once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mdslib.feeds.capture import What, read_capture
from mdslib.recorder import raw
from mdslib.recorder.raw import RawCapture

NOON = 1_795_262_400_000_000_000
URL = "ws://venue"


def texts(out: Path) -> list[str]:
    (file,) = out.glob("*/raw/*.zst")
    return [line.text.decode() for line in read_capture(file) if line.what is What.RECEIVED]


def test_a_full_disk_is_told_once_and_what_waits_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    capture = RawCapture(tmp_path, "kraken-1", told.append)
    capture.connected(URL, NOON)
    capture.received(NOON, "[1]")
    capture.flush()
    write = os.write

    def half(fd: int, data: bytes) -> int:
        return write(fd, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(raw.os, "write", half)
        for number in (2, 3):
            capture.received(NOON + number, f"[{number}]")
            capture.flush()
    assert texts(tmp_path) == ["[1]"]  # no half frame is left
    capture.received(NOON + 4, "[4]")
    capture.close()
    assert texts(tmp_path) == ["[1]", "[2]", "[3]", "[4]"]
    assert len(told) == 1
    assert "only a part fitted on the disk; it is tried again, the tapes go on" in told[0]
    assert capture.lost == 0


def test_what_memory_can_not_hold_is_counted_and_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "_MOST_WAITING", 100)
    (tmp_path / "2026-11-21").write_text("no folder")
    told: list[str] = []
    capture = RawCapture(tmp_path, "kraken-1", told.append)
    capture.connected(URL, NOON)
    for _ in range(2):
        capture.received(NOON, "x" * 200)
        capture.flush()
    lost = capture.lost
    assert lost > 400
    capture.received(NOON, "[1]")
    capture.close()
    assert capture.lost > lost, "what the end leaves unwritten counts too"
    assert len(told) == 2, "each is told once: that it is tried again, and that something is given up"
    assert "bytes of text are given up, and what comes until it can be written; the tapes have" in told[1]
