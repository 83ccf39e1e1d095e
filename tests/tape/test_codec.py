"""The codec: sealed records, headers and side records, without I/O."""

from __future__ import annotations

import datetime
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdslib.errors import TapeError
from mdslib.events import RECORD
from mdslib.instruments import Instrument
from mdslib.tape import (
    SideKind,
    TapeHeader,
    decode_header,
    decode_segment,
    decode_sides,
    encode_header,
    encode_side,
    encode_side_head,
    make_header,
    seal,
    versions,
)


@settings(deadline=None)  # the first call compiles
@given(st.binary(min_size=96 * 3, max_size=96 * 3), st.integers(1, 2**62))
def test_seal_stamps_the_sequence_and_the_crc_of_zlib(data: bytes, first: int) -> None:
    records = seal(np.frombuffer(bytearray(data), RECORD), first)
    assert records["seq"].tolist() == [first, first + 1, first + 2]
    assert records["crc"].tolist() == [zlib.crc32(each.tobytes()[:92]) for each in records]
    payload = np.frombuffer(data, np.uint8).reshape(3, 96)
    assert np.array_equal(records.view(np.uint8).reshape(3, 96)[:, 8:92], payload[:, 8:92])


def test_seal_refuses_what_it_can_not_stamp_in_place(trades: np.ndarray) -> None:
    with pytest.raises(
        TapeError,
        match=r"must be a contiguous, writable, one-dimensional array of events\.RECORD.*np\.array\(records\)",
    ):
        seal(trades[::2], 1)
    with pytest.raises(TapeError, match=r"received shape \(3,\) of dtype float64"):
        seal(np.zeros(3), 1)  # type: ignore[arg-type]
    trades.flags.writeable = False
    with pytest.raises(TapeError, match="writable"):
        seal(trades, 1)


def test_a_header_returns_as_it_was_and_records_start_on_a_multiple_of_96(header: TapeHeader) -> None:
    data = encode_header(header, 42)
    assert decode_header(data, "x") == (header, 42, len(data))
    assert len(data) % 96 == 0


def test_make_header_tells_versions_and_machine(header: TapeHeader) -> None:
    made = make_header(
        model="m", fingerprint="f", parameters={"n": np.int64(3), "x": np.float64(0.5), "b": True},
        instruments=(Instrument("SPY"),),
        account_id="PA3", trading_date=datetime.date(2013, 10, 8), run_name="r",
    )  # fmt: skip
    assert made.parameters == {"n": 3, "x": 0.5, "b": True}
    assert set(made.versions) == {"mdslib", "numba", "numpy", "python"}
    assert made.versions == versions()
    assert made.machine["cpu"]
    assert made.machine["libm"]
    assert decode_header(encode_header(made, 1), "x")[0] == made


def test_a_text_parameter_is_refused_because_it_could_be_a_credential() -> None:
    with pytest.raises(
        TapeError, match=r"TapeHeader\.parameters\['key'\] must be a number, received a str; texts stay off"
    ) as caught:
        make_header(
            model="m", fingerprint="f", parameters={"key": "PKSECRET"}, instruments=(), account_id="a",  # type: ignore[dict-item]
            trading_date=datetime.date(2013, 10, 8), run_name="r",
        )  # fmt: skip
    assert "PKSECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda data: b"PARQUET1" + data[8:], r"x must open with b'MDSTAPE\\x00', received b'PARQUET1'"),
        (
            lambda data: data[:8] + b"\x09" + data[9:],
            "must have format version 1, received 9; read it with the mdslib that wrote it",
        ),
        (lambda data: data[:-1] + b"!", r"the header \(\d+ bytes at offset 32\) must match its CRC"),
        (lambda data: data[:10], "no segment of a tape"),
    ],
)
def test_a_header_that_is_not_ours_is_refused(header: TapeHeader, change, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TapeError, match=text):
        decode_header(change(encode_header(header, 1)), "x")


def segment(header: TapeHeader, records: np.ndarray) -> np.ndarray:
    """Return a segment's bytes."""
    return np.frombuffer(bytearray(encode_header(header, 1) + seal(records, 1).tobytes()), np.uint8)


def test_a_segment_is_read_back_without_a_copy(header: TapeHeader, trades: np.ndarray) -> None:
    data = segment(header, trades)
    found = decode_segment(data, "x", last=True)
    assert found.header == header
    assert found.torn == 0
    assert found.size == len(data)
    assert found.records.tobytes() == trades.tobytes()
    assert np.shares_memory(found.records, data)


@settings(deadline=None)
@given(cut=st.integers(0, 96 * 5 - 1))
def test_a_tail_cut_anywhere_ends_at_the_last_whole_record(cut: int) -> None:
    head = TapeHeader("m", "f", {}, (), "a", datetime.date(2013, 10, 8), "r")
    data = segment(head, np.zeros(5, RECORD))
    start = len(data) - 5 * 96
    found = decode_segment(data[: start + cut], "x", last=True)
    assert len(found.records) == cut // 96
    assert found.torn == cut % 96


def test_a_bad_last_record_and_blocks_that_never_reached_the_disk_are_a_torn_tail(
    header: TapeHeader, trades: np.ndarray
) -> None:
    data = segment(header, trades)
    bad = data.copy()
    bad[-40] ^= 1
    assert decode_segment(bad, "x", last=True).torn == 96
    zeros = data.copy()
    zeros[-96 * 7 :] = 0
    found = decode_segment(zeros, "x", last=True)
    assert len(found.records) == 993
    assert found.torn == 7 * 96


def test_damage_in_the_middle_names_segment_record_and_offset(header: TapeHeader, trades: np.ndarray) -> None:
    data = segment(header, trades)
    start = len(data) - 1000 * 96
    data[start + 96 * 500 + 40] ^= 1
    with pytest.raises(
        TapeError,
        match=rf"00000001.tape: record 500 \(sequence 501, offset {start + 96 * 500}\) must match its CRC.*damaged "
        rf"in its middle, 499 records follow",
    ):
        decode_segment(data, "00000001.tape", last=True)


def test_a_record_out_of_sequence_is_damage(header: TapeHeader, trades: np.ndarray) -> None:
    opening = encode_header(header, 1)
    lost = seal(trades, 1)[np.r_[0:10, 11:1000]]
    with pytest.raises(TapeError, match=r"record 10 \(sequence 11, offset \d+\) must have sequence 11, received 12"):
        decode_segment(np.frombuffer(opening + lost.tobytes(), np.uint8), "x", last=True)


def test_only_the_last_segment_may_have_a_torn_tail(header: TapeHeader, trades: np.ndarray) -> None:
    with pytest.raises(
        TapeError, match=r"must end on a whole record, but 56 bytes follow record 999.*later segments exist"
    ):
        decode_segment(segment(header, trades)[:-40], "x", last=False)


def test_side_texts_return_with_number_kind_and_owner() -> None:
    data = encode_side_head(3) + encode_side(SideKind.ORDER, 9, '{"id": "ü"}') + encode_side(SideKind.ERROR, 12, "")
    assert decode_sides(data, "x") == ([(3, SideKind.ORDER, '{"id": "ü"}', 9), (4, SideKind.ERROR, "", 12)], 0)


@given(cut=st.integers(1, 60))
def test_a_torn_side_text_is_left_out(cut: int) -> None:
    whole = encode_side_head(0) + encode_side(SideKind.TEXT, 1, "first")
    data = (whole + encode_side(SideKind.TEXT, 2, "x" * 40))[: len(whole) + cut]
    complete = cut == 60
    sides, torn = decode_sides(data, "x")
    assert [side.text for side in sides] == (["first", "x" * 40] if complete else ["first"])
    assert torn == (0 if complete else cut)


def test_a_side_text_that_is_too_long_or_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(TapeError, match="must be under 16777216 bytes, received 16777216"):
        encode_side(SideKind.FRAME, 1, "x" * (1 << 24))
    with pytest.raises(TapeError, match="side record at offset 16 has kind 99"):
        decode_sides(encode_side_head(0) + encode_side(99, 1, "x"), "x")  # type: ignore[arg-type]
    with pytest.raises(TapeError, match="it is no side file of a tape"):
        decode_sides(b"x" * 20, "x")
