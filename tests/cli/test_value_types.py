"""Values against annotations; over the whole config in `tests/configs/test_values.py`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
from omegaconf import OmegaConf

from coin_lightning.cli.value_types import checked, hints_of, refusal


class Reader(Protocol):
    def read(self) -> str: ...


@pytest.mark.parametrize(
    ("annotation", "fits", "does_not"),
    [
        (int, [3, -1], [3.0, 10.5, "3", True, None, float("nan")]),
        (float, [3, 0.5], ["0.5", True, None, float("nan"), float("inf")]),
        (bool, [True], [1, "true", None]),
        (str, ["a", ""], [1, True, None]),
        (str | Path, ["a/b"], [1, ["a"]]),
        (int | None, [None, 1], ["1"]),
        (Literal["step", "epoch"] | None, ["step", None], ["batch", 1]),
        (str | Sequence[str], ["coin", ["gqa"], []], [1, [1], {"a": 1}]),
        (tuple[float, float], [[0.9, 1]], [[0.9], [0.9, "1"], 0.9]),
        (int | Mapping[str, int] | None, [1, None, {"gqa": 4}], [{"gqa": "4"}, [4], 1.5]),
        (Callable[[], Any] | None, [None], [3, "x"]),
        (Reader | None, [None], [3, "x"]),
        (Any, [3, "x", None], []),
    ],
)
def test_what_fits_an_annotation(annotation: Any, fits: list[Any], does_not: list[Any]):
    assert [value for value in fits if refusal(annotation, value)] == []
    assert [value for value in does_not if not refusal(annotation, value)] == []


class Made:
    def __init__(self, size: int, words: str = "") -> None: ...


def make(count: int, **options: Any) -> Made:
    return Made(**options)


def test_annotations_of_options_that_are_handed_on():
    assert hints_of(make) == {"count": int, "size": int, "words": str}
    assert hints_of(Made) == {"size": int, "words": str}
    assert hints_of(len) == {}


def test_whole_numbers_become_text_and_nothing_else_does():
    node = OmegaConf.create({"a": 12, "b": {"x": [1, "y"]}, "c": 1.5, "d": 3})
    lines = list(checked(node, "k", {"a": str, "b": Mapping[str, Sequence[str]], "c": str, "d": int}))
    assert lines == ["""k.c=1.5: must be a valid string; for a text write 'k.c="1.5"', both kinds of quotes included"""]
    assert OmegaConf.to_container(node) == {"a": "12", "b": {"x": ["1", "y"]}, "c": 1.5, "d": 3}
