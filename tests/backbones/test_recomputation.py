"""Recomputed layers: the gradients of every family stay as they are, and autograd keeps less."""

import pytest
import torch
import torch.nn.functional as F
from small_families import SMALL, small
from test_families import TALKS, batch_of, learned

from coin_lightning.backbones import tiny
from coin_lightning.backbones.loading import load_backbone
from coin_lightning.backbones.recomputation import decoder_layers, recompute, spacing
from coin_lightning.errors import ConfigError


@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_the_same_and_less_is_kept(name: str) -> None:
    backbone, kept, grads = small(name).train(), [], []
    for part in (backbone.language_model, *backbone.projectors):
        part.requires_grad_(True)
    for choice in ("none", "every_2", "all"):
        recompute(backbone.language_model, choice)
        batch = batch_of(backbone, TALKS, left=False)
        kept.append(0)

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept[-1] += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            hidden = backbone.hidden_states(batch["ids"], batch["images"], batch["layout"])
        loss = F.cross_entropy(*backbone.answer_logits(hidden, batch["labels"]))
        grads.append(torch.autograd.grad(loss, learned(backbone), allow_unused=True))
    assert kept[0] > kept[1] > kept[2] > 0
    assert len(grads[0]) > 20
    for plain, *others in zip(*grads, strict=True):
        assert all(torch.equal(plain, other) for other in others)


@pytest.mark.parametrize(
    ("choice", "chosen"), [("none", []), ("all", [0, 1, 2]), ("every_2", [0, 2]), ("every_3", [0])]
)
def test_which_layers(choice: str, chosen: list[int]) -> None:
    model = small("llava").language_model
    recompute(model, "all")
    recompute(model, choice)  # the last word counts
    assert [at for at, layer in enumerate(decoder_layers(model)) if layer.gradient_checkpointing] == chosen


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (True, r"gradient_checkpointing=True: .* write all"),
        (False, r"gradient_checkpointing=False: .* write none"),
        ("every_0", r"gradient_checkpointing='every_0': must be none, all, or every_2"),
        (2, r"gradient_checkpointing=2: must be none"),
        ("every_3", r"gradient_checkpointing=every_3: the language model has 2 layers; use every_2 or less"),
    ],
)
def test_other_values_are_refused_with_the_remedy(value: object, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        tiny.load(gradient_checkpointing=value)  # type: ignore[arg-type]
    assert spacing("all") == 1


def test_a_checkpoint_is_not_read_for_a_wrong_word() -> None:
    with pytest.raises(ConfigError, match="write all"):
        load_backbone("/nowhere", gradient_checkpointing=True)  # type: ignore[arg-type]
