"""`mds seal` and `mds verify`: the signed record of a run, and whether anything of it was changed since."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from mdslib.errors import ConfigError
from mdslib.strictjson import dumps


def seal_command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
) -> None:
    """Seal a run: write manifest.json and its signature, and chain it to the run that was sealed before.

    A live run is sealed at its end; do this where it was cut off. The key is made on first use.
    """
    from mdslib.store.seal import public_key, seal

    sealed = seal(run)
    sys.stdout.write(f"sealed {run}: {sealed.digest}\nkey {public_key()}\n")


def verify_command(
    run: Annotated[Path, typer.Argument(help="Folder of a sealed run, or of all runs.", show_default=False)],
    key: Annotated[str, typer.Option(help="Public key that must have signed, 64 hex digits; yours by default.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Name what was changed in a sealed run since its seal; exit 0 if nothing was, 1 if something was."""
    from mdslib.audit.report import Outcome
    from mdslib.store.seal import CHAIN, public_key
    from mdslib.store.verify import verify_chain, verify_run

    if key and not re.fullmatch(r"[0-9a-f]{64}", key):
        raise ConfigError(f"--key must be a public key of 64 hexadecimal digits, received {key!r}; mds seal prints it")
    trusted = key or public_key()
    several = (run / CHAIN).exists() and not (run / "tape").is_dir()
    found = dict(verify_chain(run, trusted)) if several else {run.resolve().name: verify_run(run, trusted)}
    ok = all(finding.outcome is Outcome.PASSED for findings in found.values() for finding in findings)
    if json:
        runs = {
            name: [{"name": f.name, "outcome": f.outcome.value, "text": f.text} for f in findings]
            for name, findings in found.items()
        }
        sys.stdout.write(dumps({"ok": ok, "runs": runs}) + "\n")
    else:
        for name, findings in found.items():
            sys.stdout.write("\n".join([name, *(f"  {finding.line()}" for finding in findings)]) + "\n")
        sys.stdout.write("nothing was changed\n" if ok else "not as sealed\n")
    if not ok:
        raise typer.Exit(1)
