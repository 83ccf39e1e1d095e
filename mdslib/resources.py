"""Where the files are that come with mdslib but are no Python modules: models, runners, systemd units."""

from __future__ import annotations

from pathlib import Path

from mdslib.errors import ConfigError


def resource(name: str) -> Path:
    """Return a folder that comes with mdslib: beside the package in a checkout, inside it in an installed copy.

    Parameters
    ----------
    name : str
        ``models``, ``runners`` or ``deploy``.

    Raises
    ------
    ConfigError
        Where the copy is incomplete.

    Examples
    --------
    >>> resource("runners").name
    'runners'
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "shipped" / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise ConfigError(f"mdslib's own folder {name!r} must come with the package and is missing; install mdslib again")
