"""JSON reading: every refusal names file and field."""

from pathlib import Path

import pytest

from coin_lightning.errors import RunError
from coin_lightning.reporting.json_fields import field, read_json_lines
from coin_lightning.run_files import read_json


def test_lines_are_numbered_in_messages(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"x": 1}\n\n{"x": \n', encoding="utf-8")
    with pytest.raises(RunError, match=r"a\.jsonl: line 3 is not JSON"):
        read_json_lines(file)
    file.write_text('{"x": "\u2028"}\n', encoding="utf-8")  # a line separator inside a text does not end the line
    assert read_json_lines(file) == [{"x": "\u2028"}]


def test_a_list_is_not_an_object(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(RunError, match="holds a list, expected an object"):
        read_json(tmp_path / "a.json")


def test_integers_pass_as_numbers_but_booleans_do_not() -> None:
    assert field({"x": 3}, Path("f"), "x", float) == 3
    with pytest.raises(RunError, match="'x' is True, expected a number"):
        field({"x": True}, Path("f"), "x", float)
    with pytest.raises(RunError, match="'y' is None"):
        field({"x": 3}, Path("f"), "y", str)
