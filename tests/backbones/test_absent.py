from pathlib import Path

import pytest
import yaml

from coin_lightning.backbones import absent
from coin_lightning.backbones.images import check_frame
from coin_lightning.backbones.prompts import prompt_format
from coin_lightning.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf" / "backbone"


@pytest.mark.parametrize("name", ["qwen_vl", "minigpt_v2"])
def test_a_row_that_cannot_run_yet_says_what_is_missing(name):
    options = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert options.pop("_target_") == f"{absent.__name__}.load"
    with pytest.raises(ConfigError) as refusal:
        absent.load(**options)
    assert str(refusal.value).startswith(
        f"backbone={name}: this backbone is not part of coin_lightning yet. Missing: the"
    )
    assert options["missing"] in str(refusal.value)


@pytest.mark.parametrize("name", ["qwen_vl", "minigpt_v2"])
def test_what_it_says_is_there_is_there(name):
    options = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert prompt_format(options["prompt"]).box_numbers in ("thousand_tags", "percent_tags")
    assert check_frame(options["image_frame"]) == "squash"
