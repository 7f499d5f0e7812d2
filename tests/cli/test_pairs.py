"""Words of a command line."""

import pytest

from coin_lightning.cli.pairs import pairs
from coin_lightning.errors import ConfigError


def test_values_are_taken_as_they_are_written():
    assert pairs(["raw=/a=b", "order=[1, 2]", "hint="]) == {"raw": "/a=b", "order": "[1, 2]", "hint": ""}


@pytest.mark.parametrize(
    ("words", "said"), [(["gqa"], "gqa: must be key=value"), (["a=1", "a=2"], "a: is given twice")]
)
def test_what_is_no_pair_or_said_twice_is_refused(words: list[str], said: str):
    with pytest.raises(ConfigError, match=said):
        pairs(words)
