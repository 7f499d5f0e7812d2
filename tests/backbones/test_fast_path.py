"""`backbone.fast`: what the word switches, and that YAML's reading of it is understood."""

import hydra
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict
from small_families import SMALL, small
from test_families import TALKS, batch_of

from coin_lightning.adapters.build import LANGUAGE_MODEL_LINEARS, lora, moelora
from coin_lightning.adapters.shared_input import SharesInput, share_inputs
from coin_lightning.adapters.targets import put_adapter
from coin_lightning.backbones import llava_smol, tiny
from coin_lightning.backbones.attention import NAME
from coin_lightning.cli.build import check_config, check_early
from coin_lightning.config_folder import conf_dir
from coin_lightning.continual.free_keys import is_free
from coin_lightning.errors import ConfigError


def composed(override):
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = hydra.compose("train", overrides=[override], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config


@pytest.mark.parametrize(("word", "ours"), [("auto", True), ("off", False), (False, False)])
def test_the_word_switches_groups_and_attention(word, ours):
    assert tiny.load(fast=word).fast is ours
    backbone = llava_smol.load(dtype="bfloat16", fast=word)
    assert backbone.fast is ours
    assert (backbone.language_model.config._attn_implementation == NAME) is ours


@pytest.mark.parametrize("word", ["auto", "off", "false"])
def test_words_of_a_config(word):
    check_early(composed(f"backbone.fast={word}"))
    check_config(composed(f"backbone.fast={word}"))


def test_another_word_is_refused():
    with pytest.raises(ConfigError, match=r"backbone\.fast"):
        check_config(composed("backbone.fast=never"))


def test_it_changes_rounding_so_a_run_is_not_continued_with_the_other_word():
    assert not is_free("backbone.fast")


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("adapter", [moelora, lora])
def test_gradients_of_every_family_are_those_of_the_plain_path(name, adapter):
    backbone = small(name).train()
    options = {"num_experts": 2} if adapter is moelora else {}
    config = adapter(rank=4, alpha=8, dropout=0.0, targets=LANGUAGE_MODEL_LINEARS, **options)
    model = put_adapter(backbone.model, backbone.language_model, config)
    torch.manual_seed(0)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in weights:
        weight.data = 0.2 * torch.randn(weight.shape)
    grads = []
    for fast in (False, True):
        if fast:
            share_inputs(model)
        batch = batch_of(backbone, TALKS, left=False)
        hidden = backbone.hidden_states(batch["ids"], batch["images"], batch["layout"])
        loss = torch.nn.functional.cross_entropy(*backbone.answer_logits(hidden, batch["labels"]))
        grads.append([loss, *torch.autograd.grad(loss, weights)])
    flat = [torch.cat([grad.flatten() for grad in part]) for part in grads]
    assert (flat[1] - flat[0]).norm() < 1e-5 * flat[0].norm()
    found = {id(layer.parent_pass): layer.parent_pass for layer in model.modules() if isinstance(layer, SharesInput)}
    sizes = {len(group) for watched in found.values() for group in watched.groups.values()}
    assert sizes >= {1, 2}  # Qwen-VL has one layer for queries, keys and values
