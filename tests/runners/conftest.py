"""Stand-in notebooks: the cells that a test names, behind a cell of parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

SAY = """
import json, pathlib
def say(code, reason):
    body = {"code": code, "reason": reason, "by": "session", "details": {}}
    (pathlib.Path(run_dir) / "verdict.json").write_text(json.dumps(body))
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Callable[..., Path]:
    def make(*cells: str) -> Path:
        parameters = nbformat.v4.new_code_cell('run_dir = ""', metadata={"tags": ["parameters"]})
        body = [parameters, *(nbformat.v4.new_code_cell(cell) for cell in (SAY, *cells))]
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        path = tmp_path / "standin.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=body, metadata=metadata), path)
        return path

    return make
