"""Decisions of a fold against their fates on the tape, field for field and bit for bit.

A decision's fate is an INTENT (it was sent), a DENIED (it was refused by us) or an EXPIRED (it came too late, after a
restart). A decision that only parks a quantity behind a closing order has no fate of its own: its RELEASE has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdslib.events import Kind, Verb
from mdslib.protocols import Records

FATES = (int(Kind.INTENT), int(Kind.DENIED), int(Kind.EXPIRED))
BY_DESK = 256  # a DENIED code from here on: the desk spoke, after the fold had let it pass
_LEGS = 256


class Difference(NamedTuple):
    """The first place where tape and fold disagree: sequence, leg, field, and both values as text."""

    seq: int
    leg: int
    field: str
    tape: str
    fold: str

    def __str__(self) -> str:
        where = f"decision on record {self.seq}, leg {self.leg}"
        return f"{where}: {self.field} is {self.tape} on the tape, {self.fold} in the fold"


def first_fates(records: Records) -> Records:
    """Return the first fate of every decision: later attempts of one decision are left out."""
    fates = records[np.isin(records["kind"], FATES)]
    _, first = np.unique(_keys(fates, "i0", "flag"), return_index=True)
    return fates[np.sort(first)]


def doubled(records: Records) -> Difference | None:
    """Return the first decision that was meant to be sent twice under one attempt, which would be one id twice."""
    intents = records[records["kind"] == int(Kind.INTENT)]
    triples = np.stack([intents["i0"], intents["flag"].astype(np.int64), intents["i1"]], axis=1)
    _, first, counts = np.unique(triples, axis=0, return_index=True, return_counts=True)
    if not (counts > 1).any():
        return None
    again = intents[first[counts > 1].min()]
    return Difference(
        int(again["i0"]), int(again["flag"]), f"INTENT of attempt {int(again['i1'])}", "there twice", "decided once"
    )


def fateful(decisions: Records) -> Records:
    """Return the decisions that have a fate of their own."""
    asks = (decisions["qty"] != 0) | (decisions["verb"] == int(Verb.CANCEL)) | (decisions["denied"] != 0)
    chosen: Records = decisions[asks]
    return chosen


def unfated(records: Records, decisions: Records) -> Records:
    """Return the decisions of a fold of these records whose fate is not among them, in order."""
    wanted, fates = fateful(decisions), records[np.isin(records["kind"], FATES)]
    return wanted[~np.isin(_keys(wanted, "seq", "leg"), _keys(fates, "i0", "flag"))]


def compare_decisions(records: Records, decisions: Records, since: int) -> Difference | None:
    """Return the first difference between a fold's decisions and their fates, or None.

    Parameters
    ----------
    records : RECORD array
        The tape from its beginning.
    decisions : DECISION array
        Of a fold of these records.
    since : int
        Fates and decisions before this sequence are left alone: another header's fold made them.
    """
    fates = first_fates(records)
    fates = fates[fates["seq"] >= since]
    wanted = fateful(decisions)
    told, made = _keys(fates, "i0", "flag"), _keys(wanted, "seq", "leg")
    late = np.isin(made, told) | (wanted["seq"] >= since)
    wanted, made = wanted[late], made[late]
    extra, missing = fates[~np.isin(told, made)], wanted[~np.isin(made, told)]
    found = [
        Difference(
            int(e["i0"]), int(e["flag"]), "decision", f"{Kind(int(e['kind'])).name} (record {e['seq']})", "absent"
        )
        for e in extra[:1]
    ]
    found += [Difference(int(m["seq"]), int(m["leg"]), "decision", "absent", _said(m)) for m in missing[:1]]
    order, place = np.argsort(told, kind="stable"), np.isin(made, told)
    both, same = wanted[place], order[np.searchsorted(told[order], made[place])] if len(told) else order
    found += _fields(both, fates[same])[:1]
    return min(found, key=lambda each: (each.seq, each.leg), default=None)


def _fields(decisions: Records, fates: Records) -> list[Difference]:
    """Return the first difference in any field of decisions and fates that belong together."""
    kind = fates["kind"]
    refused = (kind == int(Kind.DENIED)) & (fates["code"] < BY_DESK)
    sent = kind == int(Kind.INTENT)
    code = decisions["verb"].astype(np.int64) + 256 * decisions["tif"].astype(np.int64)
    reason = np.where(refused, fates["code"].astype(np.int64), 0)
    everywhere = np.ones(len(fates), bool)
    columns = [
        ("denied", reason, decisions["denied"].astype(np.int64), everywhere),
        ("instrument", fates["instrument"], decisions["instrument"], everywhere),
        ("verb and time in force", fates["code"].astype(np.int64), code, sent),
        ("qty", fates["f0"], decisions["qty"], everywhere),
        ("limit", fates["f1"], decisions["limit"], kind != int(Kind.EXPIRED)),
        ("reference", fates["f2"], decisions["reference"], sent),
        ("bound", fates["f2"], decisions["bound"], refused),
        ("value", fates["f3"], decisions["value"], refused),
    ]
    found: list[tuple[int, Difference]] = []
    for name, tape, fold, where in columns:
        rows = np.flatnonzero(where & (_bits(tape) != _bits(fold)))
        if len(rows):
            row = int(rows[0])
            seq, leg = int(decisions["seq"][row]), int(decisions["leg"][row])
            found.append((row, Difference(seq, leg, name, repr(tape[row].item()), repr(fold[row].item()))))
    return [min(found, key=lambda each: each[0])[1]] if found else []


def _bits(values: np.ndarray) -> np.ndarray:
    """Return values to compare bit for bit; all nans count as one."""
    if values.dtype.kind != "f":
        return values
    plain = np.ascontiguousarray(values, np.float64).copy()
    plain[np.isnan(plain)] = np.nan
    return plain.view(np.int64)


def _keys(records: Records, seq: str, leg: str) -> np.ndarray:
    return np.asarray(records[seq], np.int64) * _LEGS + np.asarray(records[leg], np.int64)


def _said(decision: np.void) -> str:
    return f"{Verb(int(decision['verb'])).name} {float(decision['qty']):g} of instrument {int(decision['instrument'])}"
