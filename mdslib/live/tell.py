"""Telling a person that a run has failed: a web hook, a command of theirs such as mail, or both."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

from mdslib.errors import SessionError

WAIT = 20.0  # s for the hook or the command


def tell(text: str, webhook: str, command: Sequence[str]) -> list[str]:
    """Tell everybody who is named, and return a line for each.

    Parameters
    ----------
    text : str
        What happened.
    webhook : str
        Gets ``{"text": ...}`` by POST, as Slack, Mattermost and others take it; empty for none. Its address is a
        secret, and is in no message.
    command : sequence of str
        A program and its arguments; gets the text on standard input. Empty for none.

    Raises
    ------
    SessionError
        If one of them could not be told; the other has been.
    """
    done, failed = list[str](), list[str]()
    for name, wanted, problem in (
        ("web hook", bool(webhook), _post(webhook, text) if webhook else ""),
        ("command", bool(command), _run(command, text) if command else ""),
    ):
        if wanted:
            (failed if problem else done).append(f"{name}: {problem or 'told'}")
    if failed:
        raise SessionError(f"somebody could not be told: {'; '.join(failed + done)}; the message was: {text}")
    return done


def _post(webhook: str, text: str) -> str:
    """Return what went wrong, or an empty text."""
    import httpx

    try:
        answer = httpx.post(webhook, content=json.dumps({"text": text}), headers={"Content-Type": "application/json"},
                            timeout=WAIT)  # fmt: skip
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{type(error).__name__}, check notify_webhook"
    return "" if answer.is_success else f"answered HTTP {answer.status_code}, check notify_webhook"


def _run(command: Sequence[str], text: str) -> str:
    try:
        done = subprocess.run(
            list(command), input=text + "\n", text=True, capture_output=True, timeout=WAIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]} could not be run ({error})"
    return "" if done.returncode == 0 else f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-200:]}"
