"""What became of a live run: one small file that the session writes, and the exit codes that follow from it.

papermill's own marks can't be trusted (a killed kernel leaves every cell `completed`), so the session says in
``verdict.json`` how it ended, and the runner judges by that file.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from mdslib import errors
from mdslib.strictjson import dumps

VERDICT = "verdict.json"


class ExitCode(IntEnum):
    """How `runners/live.py` and `mds live` exit; documented, so that systemd and people can act on it."""

    OK = 0  # the session ran to its end and its audit passed, or there was no session today
    AUDIT_FAILED = 1  # the day's record does not add up; the next start is blocked until a person clears it
    CONFIG = 2  # a setting, key, model or symbol is wrong, or the feed is not in the plan; starting again can't help
    MODEL_RAISED = 3  # the model raised or answered nonsense; trading halted
    VENUE = 4  # the feed or the broker failed; starting again may help
    KERNEL = 5  # the notebook's kernel died, hung, or did not end in time
    NOTEBOOK = 6  # a cell outside the session raised, or the notebook ended without a verdict
    LEFT_OPEN = 7  # orders of the run still work at the venue, or nobody knows; or the day did not end flat: look there
    RECORD = 8  # the disk is full, or the run folder is not writable: free it; what was recorded before is safe
    INTERRUPTED = 130  # Ctrl-C before the session had begun, or before it could end cleanly
    TERMINATED = 143  # SIGTERM, or a closed terminal, likewise


# The first class that an error belongs to decides.
_CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (errors.AuditError, ExitCode.AUDIT_FAILED),
    (errors.RecordError, ExitCode.RECORD),
    (errors.ModelRaised, ExitCode.MODEL_RAISED),
    (errors.FeedRefused, ExitCode.CONFIG),  # for good: a feed that is not in the plan, a symbol that is none
    (errors.FeedError, ExitCode.VENUE),
    (errors.BrokerError, ExitCode.VENUE),
    (errors.MdsError, ExitCode.CONFIG),
)


def exit_code(error: type[BaseException]) -> ExitCode:
    """Return the exit code of a run that ended with an error of this class.

    Examples
    --------
    >>> exit_code(errors.FeedError).name, exit_code(errors.FeedRefused).name, exit_code(ZeroDivisionError).name
    ('VENUE', 'CONFIG', 'NOTEBOOK')
    """
    return next((code for kind, code in _CODES if issubclass(error, kind)), ExitCode.NOTEBOOK)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended.

    Parameters
    ----------
    code : ExitCode
        The run's exit code.
    reason : str
        One sentence for a person.
    by : str
        Who said so: ``session``, from inside the kernel, or ``runner``, where the session could not.
    details : dict
        Counts and the like that a program may want; JSON values only.
    """

    code: ExitCode
    reason: str
    by: str = "session"
    details: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Return it as one line of plain text."""
        return f"{self.code.name} ({int(self.code)}): {self.reason}"

    def to_json(self, indent: int | None = None) -> str:
        """Return it as ``verdict.json`` has it."""
        return dumps(asdict(self) | {"code": int(self.code), "meaning": self.code.name}, indent=indent)

    def write(self, run_dir: Path) -> Path:
        """Write ``verdict.json`` whole or not at all, and return its path.

        Raises
        ------
        errors.RecordError
            Where it can't be written. Then it is on standard error, so that it is not lost.
        """
        path = run_dir / VERDICT
        try:
            with recording(path):
                replace_file(path, self.to_json(indent=1) + "\n")
        except errors.RecordError as error:
            sys.stderr.write(self.to_json() + "\n")
            raise errors.RecordError(f"{error}. It would have said {self.line()}") from error
        return path

    @classmethod
    def read(cls, run_dir: Path) -> Verdict | None:
        """Return the verdict of a run folder, or None where there is none.

        Raises
        ------
        errors.SessionError
            Where the file is not a verdict.
        """
        path = run_dir / VERDICT
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            return cls(ExitCode(body["code"]), str(body["reason"]), str(body["by"]), dict(body["details"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise errors.SessionError(
                f"{path} must be a verdict with code, reason, by and details, and is not ({error}); "
                "look at the notebook beside it for how the run ended, then remove the file"
            ) from error


@contextmanager
def recording(path: Path) -> Iterator[None]:
    """Let a failure to write a run's file be told in our words.

    Raises
    ------
    errors.RecordError
    """
    try:
        yield
    except OSError as error:
        raise errors.RecordError(
            f"{path} can't be written ({error.strerror or error}); free the disk, or mend the folder's owner or mode"
        ) from error


def replace_file(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a crash, sees the old one or the new one and nothing between."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
