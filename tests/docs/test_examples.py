"""Every example of the documentation runs, and prints what the page says.

A page is one story: its ``python`` blocks share names, its ``console`` blocks share a folder and a store. A ``text``
block directly after a ``python`` block is what that prints; the lines under ``$ mds …`` are what the command prints.
``...`` stands for anything. A block that can't run here says why on the line above it.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import PAGES, ROOT, Block, blocks, name

RUN = ("python", "console")
WITH_EXAMPLES = [page for page in PAGES if any(b.language in RUN and b.mark != "not run" for b in blocks(page))]
CHECKER = doctest.OutputChecker()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
DEADLINE = 120.0  # s of one command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty working folder with a store of its own; nothing of the person's settings gets in."""
    for variable in [v for v in os.environ if v.startswith(("MDS_", "ALPACA_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("MDS_STORE", str(tmp_path / "store"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    path = list(sys.path)
    yield work
    sys.path[:] = path


@pytest.mark.compiled
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name)
def test_examples_of_a_page_run_and_print_what_it_says(page: Path, folder: Path) -> None:
    found = blocks(page)
    names: dict[str, Any] = {"__name__": "page", "__file__": str(page)}
    for place, block in enumerate(found):
        if block.mark == "not run":
            continue
        if block.mark == "save":
            (folder / block.why).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.why).write_text(block.text, "utf-8")
        elif block.language == "python":
            after = found[place + 1] if place + 1 < len(found) else None
            told = after.text if after and after.follows and after.language == "text" else ""
            compare(page, block, told, run_python(page, block, names))
        elif block.language == "console":
            run_console(page, block)


def run_python(page: Path, block: Block, names: dict[str, Any]) -> str:
    """Run a block in the page's names, and return what it printed; errors show the page's own lines."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
    return said.getvalue()


def run_console(page: Path, block: Block) -> None:
    """Run each ``$ mds …`` of a block and compare what it prints, on both streams, with the lines below it."""
    for text in block.text.split("$ ")[1:]:
        command, _, told = text.partition("\n")
        words = shlex.split(command)
        assert words[0] == "mds", f"{name(page)}, line {block.line}: only mds can be run, not {words[0]!r}"
        done = subprocess.run(
            [sys.executable, "-m", "mdslib.cli", *words[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=False,
        )
        expected = 2 if told.startswith("mds: error:") else 0
        assert done.returncode == expected, f"{name(page)}: $ {command}\n{done.stdout}"
        compare(page, block, told, done.stdout)


def compare(page: Path, block: Block, told: str, said: str) -> None:
    """Compare what a page says with what was printed; a page that says nothing is content with anything."""
    if told.strip() and not CHECKER.check_output(told, said, FLAGS):
        where = f"{name(page)}, line {block.line}"
        pytest.fail(f"{where}\n--- the page says\n{told}\n--- it printed\n{said}", pytrace=False)
