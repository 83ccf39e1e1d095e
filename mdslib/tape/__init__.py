"""The tape's codec: bytes to records and back, without I/O. Files are `mdslib.store.tapefile`.

A tape is a folder of segments ``00000001.tape``, each a header and 96-byte records whose sequence runs on over the
segments without a gap, and of ``00000001.side`` files with the texts that do not fit in a record.
"""

from mdslib.tape.codec import FIRST_SEQ, Side, SideKind, decode_sides, encode_side, encode_side_head, seal
from mdslib.tape.header import TapeHeader, decode_header, encode_header, machine_class, make_header, versions
from mdslib.tape.segment import Segment, decode_segment

__all__ = [
    "FIRST_SEQ",
    "Segment",
    "Side",
    "SideKind",
    "TapeHeader",
    "decode_header",
    "decode_segment",
    "decode_sides",
    "encode_header",
    "encode_side",
    "encode_side_head",
    "machine_class",
    "make_header",
    "seal",
    "versions",
]
