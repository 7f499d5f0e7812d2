"""Values of MoELoraConfig, its refusals, and the PEFT type it adds."""

import copy
import json
import pickle

import pytest
from peft import PeftConfig
from peft.utils import PeftType

from coin_lightning.adapters.moelora import MoELoraConfig
from coin_lightning.errors import ConfigError


def test_defaults_are_the_papers_scripts():
    config = MoELoraConfig()
    assert (config.r, config.alpha, config.num_experts, config.dropout) == (128, 256.0, 8, 0.05)
    assert config.scaling == 2.0  # alpha / r_total, not alpha / (r / E) = 16
    assert config.slot_ranks == [16] * 8


@pytest.mark.parametrize(
    ("values", "remedy"),
    [
        ({"r": 100, "num_experts": 8}, "Use r=96 or r=104"),
        ({"r": 3, "num_experts": 8}, r"Use r=8\."),
        ({"r": 0}, "r=0"),
        ({"num_experts": 0}, "at least 1 expert"),
        ({"alpha": 0}, "above 0"),
        ({"dropout": 1.0}, "below 1"),
        ({"mixing": "router"}, "token, given"),
        ({"active_slots": [8]}, "0 to 7"),
        ({"active_slots": []}, "at least one slot"),
        ({"trainable_slots": [-1]}, "0 to 7"),
        ({"fixed_weights": [1.0] * 8}, 'mixing="given"'),
        ({"fixed_weights": [1.0] * 7, "mixing": "given"}, "7 values for num_experts=8"),
        ({"fixed_weights": [1.0, *[None] * 7], "active_slots": [0]}, 'mixing="given"'),
        ({"ranks": [16] * 7}, "give num_experts=8 ranks from 1, of sum r=128"),
        ({"ranks": [128] + [0] * 7}, "ranks from 1"),
        ({"ranks": [9, 23, *[16] * 6], "shared_a": True}, "the rank of the one A"),
        ({"groups": [[0, 1, 2, 3], [4, 5, 6]]}, "slot 7 is in no group"),
        ({"groups": [[0, 1, 2, 3], [3, 4, 5, 6, 7]]}, "each slot is in one group"),
        ({"groups": [list(range(8)), []]}, "each group has slots"),
        ({"groups": [list(range(9))]}, "0 to 7"),
        ({"top_k": 9}, "between 1 and num_experts=8"),
        ({"top_k": 0}, "between 1 and"),
        ({"top_k": 1, "mixing": "given"}, "there is none"),
    ],
)
def test_wrong_values_are_refused_with_the_remedy(values, remedy):
    with pytest.raises(ConfigError, match=remedy):
        MoELoraConfig(**values)


def test_names_are_kept_as_a_sorted_list_or_a_pattern():
    assert MoELoraConfig(target_modules=("v", "q", "v")).target_modules == ["q", "v"]
    assert MoELoraConfig(target_modules=r".*\.q").target_modules == r".*\.q"


def test_saved_config_comes_back_equal_and_with_stable_bytes(tmp_path):
    config = MoELoraConfig(
        r=16, num_experts=4, ranks=[1, 2, 6, 7], groups=[[2, 0], [1, 3]], top_k=1, target_modules=["q", "k"],
        active_slots=[2, 0], fixed_weights=[None, None, None, 2], mixing="token",
    )  # fmt: skip
    config.save_pretrained(str(tmp_path))
    text = (tmp_path / "adapter_config.json").read_text()
    assert json.loads(text)["peft_type"] == "MOELORA"
    back = PeftConfig.from_pretrained(str(tmp_path))
    assert isinstance(back, MoELoraConfig)
    assert back == config
    assert back.active_slots == [0, 2]
    config.target_modules = {"q", "k"}  # as PEFT does for "all-linear"
    config.save_pretrained(str(tmp_path))
    assert (tmp_path / "adapter_config.json").read_text() == text


def test_the_enum_member_behaves_like_the_built_in_ones():
    member = PeftType.MOELORA
    assert member == "MOELORA"
    assert (member.name, member.value) == ("MOELORA", "MOELORA")
    assert PeftType("MOELORA") is PeftType["MOELORA"] is member
    assert pickle.loads(pickle.dumps(member)) is member
    assert copy.deepcopy(member) is member
    assert member in list(PeftType)
    assert PeftType.LORA.value == "LORA"
