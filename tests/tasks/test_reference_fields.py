"""Types of reference fields: what is converted, and what is refused."""

import pytest

from coin_lightning.tasks.reference_fields import converted


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("answer", "2", "2"),
        ("answer", 2, "2"),
        ("answer", -0.5, "-0.5"),
        ("answer", 10**30, "1" + "0" * 30),
        ("answers", [*["two"] * 8, 2, 2.5], [*["two"] * 8, "2", "2.5"]),
        ("answers", [{"answer": "two", "answer_id": at} for at in range(10)], ["two"] * 10),
        ("choices", ["x", 4], ["x", "4"]),
        ("answer_index", 1, 1),
        ("grade", 8, "8"),
        ("size", [4, 3], [4, 3]),
    ],
)
def test_plain_conversions(field, value, read):
    assert converted({field: value, "other": [value]}) == ({field: read, "other": [value]}, [])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("answer", True), ("answer", ["yes"]), ("answer", {"answer": "yes"}), ("answer", float("nan")),
        ("answer", None),
        ("answer", "half \ud800"), ("answers", "ten letter"), ("answers", ["a"] * 9), ("answers", ["a"] * 9 + [None]),
        ("answers", [{"text": "a"}] * 10), ("choices", "abc"), ("choices", []), ("answer_index", "1"),
        ("answer_index", 1.5), ("answer_index", True), ("answer_index", -1), ("subject", ["physics"]),
    ],
)  # fmt: skip
def test_everything_else_is_refused_with_field_and_value(field, value):
    _, (line,) = converted({field: value})
    assert line.startswith(f"field {field!r} ")
    assert f"found {ascii(value)[:100]}" in line
