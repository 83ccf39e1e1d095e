"""The pages say what the code says: generated parts are complete, written parts have not drifted."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import mdslib
from mdslib.account import ACCOUNT
from mdslib.cli import COMMANDS
from mdslib.strategy import strategy
from tests.docs.pages import FENCE, PAGES, ROOT, blocks, name

DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)#\s]+)")


@pytest.fixture(scope="module")
def extension() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mds_docs", DOCS / "_ext" / "mds_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_has_its_help_in_the_reference(extension: ModuleType) -> None:
    listed = extension.commands()
    assert {words.split()[0] for words in listed} == set(COMMANDS)
    for command in listed:
        assert extension.help_text(command).startswith(f"Usage: mds {command}")


def test_every_generated_table_has_rows_and_no_empty_meaning(extension: ModuleType) -> None:
    for title in ("limits", "settings", "guards", "live-options", "sim-options", "exit-codes", "rooms", "denials"):
        rows = extension.TABLES[title]().splitlines()[2:]
        assert rows, title
        assert not [row for row in rows if re.search(r"\|\s*\|$", row)], f"{title}: a row without its meaning"


def test_every_error_class_stands_in_the_drawn_tree(extension: ModuleType) -> None:
    from mdslib import errors

    classes = [n for n, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert [n for n in classes if n not in extension.errors()] == []


def test_every_public_name_is_in_the_api_pages() -> None:
    text = (DOCS / "reference" / "api.md").read_text("utf-8")
    documented = {found.rpartition(".")[2] for found in re.findall(r":: ([\w.]+)", text)}
    constants = {"DAY", "GTC", "IOC"}
    assert [n for n in mdslib.__all__ if n not in documented | constants] == []


def test_the_contract_names_every_field_of_the_account() -> None:
    text = (DOCS / "topics" / "contract.md").read_text("utf-8")
    table = text.partition("## Account")[2].partition("## Answers")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    told = [found for row in rows for found in re.findall(r"`(\w+)`", row)]
    assert told == list(ACCOUNT.names or ())


def test_the_contract_names_every_argument_of_the_decorator() -> None:
    text = (DOCS / "topics" / "contract.md").read_text("utf-8")
    names = ", ".join(strategy.__code__.co_varnames[: strategy.__code__.co_argcount])
    assert f"`@strategy({names})`" in text


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    prose = FENCE.sub("", page.read_text("utf-8"))
    targets = [link for link in LINK.findall(prose) if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in targets if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    silent = [b.line for b in blocks(page) if b.mark == "not run" and len(b.why) < 10]
    assert silent == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_shell_blocks_name_only_commands_that_exist(page: Path) -> None:
    for block in blocks(page):
        if block.language in ("sh", "console"):
            used = re.findall(r"(?:^|&& |/|\$ )mds ([a-z][a-z-]*)", block.text, re.MULTILINE)
            assert [word for word in used if word not in COMMANDS] == []
