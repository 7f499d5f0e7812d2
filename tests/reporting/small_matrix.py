"""A hand-made matrix of three tasks for tests."""

from typing import Any

from coin_lightning.reporting.run_matrix import RunMatrix, parse_matrix

NULL = None
SCORES = [[10, 20, 5], [60, 15, 5], [40, 70, NULL], [50, 30, 80]]


def content(scores: list[list[Any]] = SCORES, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"tasks": ["a", "b", "c"], "scores": scores, "counts": [[4, 4, NULL]] * 4}
    base |= {"metrics": {"acc": 53.3, "fwt": NULL}, "protocol": {}, "cost": {}, "notes": []}
    base |= {"experiment": "e", "method": "lora", "backbone": "tiny", "seed": 1}
    return base | changes


def matrix(scores: list[list[Any]] = SCORES) -> RunMatrix:
    return parse_matrix(content(scores))
