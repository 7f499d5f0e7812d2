import pytest
import torch

from coin_lightning.backbones import tiny
from coin_lightning.errors import ConfigError


def test_bytes_follow_the_special_tokens_and_come_back():
    tokenizer = tiny.byte_tokenizer()
    assert len(tokenizer) == 5 + 256
    text = "Ünï → 漢\n\t end"
    encoded = tokenizer(text)["input_ids"]
    assert len(encoded) == len(text.encode())
    assert min(encoded) >= 5
    assert tokenizer.decode(encoded) == text


def test_special_tokens_are_single_tokens_wherever_they_stand():
    tokenizer = tiny.byte_tokenizer()
    assert tokenizer("".join(tiny.SPECIALS))["input_ids"] == [0, 1, 2, 3, 4]
    assert tokenizer("x<image>y")["input_ids"] == [5 + ord("x") - 33, 3, 5 + ord("y") - 33]
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 2)


def test_the_shape_is_that_of_llava():
    config = tiny.config(261, width=64, layers=3)
    assert (config.text_config.hidden_size, config.text_config.num_hidden_layers) == (64, 3)
    assert (config.image_seq_length, config.image_token_index) == (4, 3)
    backbone = tiny.load()
    assert backbone.family.tokens(()) == (28 // 14) ** 2
    assert sum(parameter.numel() for parameter in backbone.parameters()) < 1_000_000


def test_weights_depend_on_their_seed_only_and_leave_the_random_state_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second, other = (tiny.load(init_seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["model.lm_head.weight"], other["model.lm_head.weight"])


def test_dtype_and_prompt():
    backbone = tiny.load(dtype="bfloat16", prompt="vicuna_v1")
    assert next(backbone.parameters()).dtype is torch.bfloat16
    assert backbone.end_id == tiny.SPECIALS.index("</s>")
    assert tiny.load().end_id == tiny.SPECIALS.index("<|im_end|>")
    with pytest.raises(ConfigError, match="prompt='alpaca' is unknown; use one of chatml, vicuna_v1"):
        tiny.load(prompt="alpaca")


def test_more_positions_than_it_has_are_refused():
    with pytest.raises(ConfigError, match=r"backbone\.max_length=16385 is more than .*=16384 .*; set backbone"):
        tiny.load(max_length=16385)
    assert tiny.load(max_length=16384).max_length == 16384


def test_nothing_in_it_is_instruction_tuned():
    assert tiny.load(starting_weights="pretrained").name == "tiny"
    with pytest.raises(ConfigError, match=r"starting_weights='instruction_tuned': backbone tiny has no such weights"):
        tiny.load(starting_weights="instruction_tuned")


def test_recomputing_layers_gives_the_same_gradients():
    grads = []
    for recompute in ("none", "all"):
        backbone = tiny.load(gradient_checkpointing=recompute).train()
        assert backbone.core.language_model.is_gradient_checkpointing is (recompute == "all")
        table = backbone.model.get_input_embeddings().weight.requires_grad_(True)
        backbone.hidden_states(torch.arange(5, 11)[None]).square().sum().backward()
        grads.append(table.grad)
    assert torch.equal(*grads)
