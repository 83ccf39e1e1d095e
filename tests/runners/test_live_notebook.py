"""The shipped notebook: its parameters, its kernel, and no output."""

from __future__ import annotations

import ast

import nbformat
import pytest

from mdslib.resources import resource


@pytest.fixture(scope="module")
def cells() -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(resource("runners") / "live.ipynb", as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_first_cell_holds_the_parameters_and_nothing_else(cells: list[nbformat.NotebookNode]) -> None:
    assert cells[0].metadata.tags == ["parameters"]
    body = ast.parse(cells[0].source).body
    assert all(isinstance(statement, ast.Assign) for statement in body)
    names = {statement.targets[0].id for statement in body}
    assert names >= {"model", "params", "symbols", "feed", "run_dir", "date", "limits", "end_of_day"}


def test_every_parameter_is_handed_to_the_session(cells: list[nbformat.NotebookNode]) -> None:
    names = {statement.targets[0].id for statement in ast.parse(cells[0].source).body}
    call = next(n for n in ast.walk(ast.parse(cells[1].source)) if isinstance(n, ast.Call))
    handed = {word.value.id for word in call.keywords}
    assert handed == names


def test_it_is_committed_without_output(cells: list[nbformat.NotebookNode]) -> None:
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


def test_the_last_cell_fails_the_run_where_the_audit_failed(cells: list[nbformat.NotebookNode]) -> None:
    assert cells[-1].source.startswith("report.finish()")
