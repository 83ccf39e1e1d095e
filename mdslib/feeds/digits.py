"""Numbers as venues write them: decimal text to whole counts of a decimal step, no digit lost."""

from __future__ import annotations

from decimal import Decimal

_MOST = 2**63


def whole(text: str, places: int) -> int:
    """Return the decimal number `text` in steps of ``10 ** -places``.

    Parameters
    ----------
    text : str
        Such as ``0.04315000``, ``12`` or ``1.5e-7``.
    places : int
        Decimal places of the step.

    Raises
    ------
    ValueError
        If the text is no number, is finer than the step, or the count does not fit in 64 bits.

    Examples
    --------
    >>> whole("0.0431500", 5), whole("-12", 2), whole("1.5e-7", 8)
    (4315, -1200, 15)
    """
    count: int
    head, _, tail = text.partition(".")
    excess = len(tail) - places
    try:
        if excess <= 0:
            count = int(head + tail) * 10**-excess
        elif tail[places:].strip("0") or not tail.isdigit():
            return _slowly(text, places)
        else:
            count = int(head + tail[:places])
    except ValueError:
        return _slowly(text, places)
    if "_" in text or not -_MOST <= count < _MOST:
        return _slowly(text, places)
    return count


def _slowly(text: str, places: int) -> int:
    try:
        count = Decimal(text).scaleb(places)
        if "_" in text or count != count.to_integral_value() or not -_MOST <= count < _MOST:
            raise ValueError
    except (ArithmeticError, ValueError):  # the first is also what an exponent beyond all bounds raises
        raise ValueError(f"a number must be a whole count of 1e-{places} below 2**63, received {text!r}") from None
    return int(count)
