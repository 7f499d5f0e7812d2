"""The notebook in `docs/` is true: its cells run, and say what is stored in it."""

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "results.ipynb"


def run_cell(source: str, names: dict[str, Any]) -> tuple[str, str | None]:
    """What a cell prints, and the text of its last expression, as a notebook shows it."""
    tree = ast.parse(source)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";"):
        last = compile(ast.Expression(tree.body.pop().value), "cell", "eval")  # type: ignore[attr-defined]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "cell", "exec"), names)
        value = None if last is None else eval(last, names)
    return printed.getvalue(), None if value is None else repr(value)


def test_the_notebook_shows_what_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xarray")
    matplotlib.use("Agg")
    monkeypatch.chdir(NOTEBOOK.parent)
    names: dict[str, Any] = {}
    figures = 0
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        printed, shown = run_cell("".join(cell["source"]), names)
        kinds = {output["output_type"]: output for output in cell["outputs"]}
        assert "".join(kinds.get("stream", {"text": []})["text"]) == printed
        stored = kinds.get("execute_result", {"data": {"text/plain": []}})["data"]["text/plain"]
        assert "".join(stored) == (shown or "")
        figures += "image/png" in kinds.get("display_data", {"data": {}})["data"]
    assert figures == 3
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    import matplotlib.pyplot as plt

    plt.close("all")


def test_nothing_of_a_machine_is_in_it() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not any(place in text for place in (str(ROOT), str(Path.home()), "/tmp/"))
    assert len(text) < 500_000
