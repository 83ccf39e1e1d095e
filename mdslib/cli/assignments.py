"""Options of the form ``name=value``, as `--set`, `--limit` and `--option` take them."""

from __future__ import annotations

from collections.abc import Iterable

from mdslib.errors import ConfigError


def parse_assignments(texts: Iterable[str], option: str = "--set") -> dict[str, str]:
    """Return ``name=value`` arguments as a dict.

    Parameters
    ----------
    texts : iterable of str
    option : str
        Which option they were given to, for the error.

    Raises
    ------
    ConfigError
        Where one has no name or no ``=``, or a name comes twice.

    Examples
    --------
    >>> parse_assignments(["shares=7"])
    {'shares': '7'}
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise ConfigError(f"{option} takes name=value, received {text!r}")
        if name in pairs:
            raise ConfigError(f"{option} {name} is given twice: {pairs[name]!r} and {value!r}; leave one of them out")
        pairs[name] = value
    return pairs


def parse_numbers(texts: Iterable[str], option: str) -> dict[str, float]:
    """Return ``name=number`` arguments as a dict; whole numbers stay whole.

    Examples
    --------
    >>> parse_numbers(["max_position=10", "price_collar=0.1"], "--limit")
    {'max_position': 10, 'price_collar': 0.1}
    """
    numbers: dict[str, float] = {}
    for name, text in parse_assignments(texts, option).items():
        try:
            numbers[name] = int(text) if text.lstrip("+-").isdecimal() else float(text)
        except ValueError:
            raise ConfigError(f"{option} {name} must be a number, received {text!r}; like {option} {name}=10") from None
    return numbers
