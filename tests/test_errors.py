import pytest

from coin_lightning.errors import AssetError, CoinLightningError, ConfigError, DataError, JudgeError, RunError


@pytest.mark.parametrize("kind", [AssetError, ConfigError, DataError, JudgeError, RunError])
def test_one_base_catches_every_deliberate_error(kind):
    with pytest.raises(CoinLightningError, match=r"^x\.json: is cut off$"):
        raise kind("x.json: is cut off")


def test_one_problem_is_its_own_message():
    error = DataError("a.json sample 3: no text")
    assert str(error) == "a.json sample 3: no text"
    assert error.problems == ["a.json sample 3: no text"]
    assert str(DataError(["a.json sample 3: no text"])) == str(error)


def test_several_problems_are_counted_and_listed():
    assert str(DataError(["sample 1: x", "sample 2: y"])) == "2 problems in the data:\nsample 1: x\nsample 2: y"


def test_long_lists_are_shown_up_to_the_limit_and_kept_whole():
    error = DataError([f"sample {at}" for at in range(53)])
    lines = str(error).splitlines()
    assert lines[0] == "53 problems in the data:"
    assert lines[1:51] == [f"sample {at}" for at in range(50)]
    assert lines[51:] == ["... and 3 more problems"]
    assert len(error.problems) == 53
    assert str(DataError(["a", "b", "c"], limit=1)) == "3 problems in the data:\na\n... and 2 more problems"
