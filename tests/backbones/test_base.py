import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.modeling_outputs import BaseModelOutputWithPast

from coin_lightning.backbones import tiny
from coin_lightning.backbones.base import IGNORE, Backbone, native_dtype
from coin_lightning.backbones.prompts import CHATML, Turn
from coin_lightning.errors import ConfigError, RunError

START, END, IMAGE, STOP = 1, 2, 3, 4  # <|im_start|> <|im_end|> <image> </s>


def ids(text: str) -> list[int]:
    """The tiny tokenizer by hand: printable ASCII follows the five special tokens; newline and blank come late."""
    return [{"\n": 203, " ": 225}.get(char, 5 + ord(char) - ord("!")) for char in text]


def square(backbone: Backbone, *image) -> torch.Tensor:
    """The pixels `[3, S, S]` of an image."""
    return backbone.pixels(*image)["pixel_values"][0]


def entering(backbone: Backbone, ids: torch.Tensor, features: torch.Tensor | None, images: int) -> torch.Tensor:
    """What enters the decoder: embeddings with the projected images put in."""
    seen = []
    hook = backbone.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    backbone.hidden_states(ids, backbone.project(features, [()] * images))
    hook.remove()
    return seen[0]


def labels_of(backbone: Backbone, turns: list[Turn]) -> tuple[list[int], list[int]]:
    return backbone.tokens(backbone.prompt.render(turns))


@pytest.fixture
def vicuna() -> Backbone:
    return tiny.load(prompt="vicuna_v1")


def test_chatml_token_by_token(backbone):
    tokens, labels = labels_of(backbone, [Turn("Hi?", "No", images=1)])
    asked = [START, *ids("user\n"), *[IMAGE] * 4, *ids("\nHi?"), END, *ids("\n"), START, *ids("assistant\n")]
    assert tokens == [*asked, 50, 83, END]  # N is 5 + 78 - 33, o is 5 + 111 - 33
    assert labels == [IGNORE] * len(asked) + [50, 83, END]


def test_chatml_learns_every_answer_of_a_conversation_and_nothing_between(backbone):
    tokens, labels = labels_of(backbone, [Turn("a", "b"), Turn("c", "d")])
    first = [START, *ids("user\na"), END, *ids("\n"), START, *ids("assistant\n")]
    second = [*ids("\n"), START, *ids("user\nc"), END, *ids("\n"), START, *ids("assistant\n")]
    assert tokens == [*first, 70, END, *second, 72, END]
    assert labels == [*[IGNORE] * len(first), 70, END, *[IGNORE] * len(second), 72, END]


def test_vicuna_token_by_token(vicuna):
    system, lead = vicuna.prompt.system, ids(" ")
    tokens, labels = labels_of(vicuna, [Turn("Hi?", "No", images=1), Turn("a", "b")])
    first = [*ids(system), *ids(" USER: "), *[IMAGE] * 4, *ids("\nHi? ASSISTANT:")]
    second = ids("USER: a ASSISTANT:")
    assert tokens == [*first, *lead, *ids("No"), STOP, *second, *lead, *ids("b"), STOP]
    assert labels == [
        *[IGNORE] * len(first), *lead, *ids("No"), STOP, *[IGNORE] * len(second), *lead, *ids("b"), STOP,
    ]  # fmt: skip


def test_an_open_turn_has_nothing_to_learn(backbone):
    tokens, labels = labels_of(backbone, [Turn("Why?")])
    assert tokens[-len(ids("assistant\n")) :] == ids("assistant\n")
    assert set(labels) == {IGNORE}


def test_characters_of_several_bytes_are_learned_whole(backbone):
    tokens, labels = labels_of(backbone, [Turn("ü", "é→")])
    answer = [token for token in labels if token != IGNORE]
    assert len(answer) == 2 + 3 + 1  # bytes in UTF-8, and the end of turn
    assert backbone.decode(answer_ids := torch.tensor(answer)) == "é→"
    assert tokens[-6:] == answer_ids.tolist()


def test_dtypes_by_name():
    assert native_dtype("float32") is torch.float32
    assert native_dtype("bfloat16") is torch.bfloat16
    assert native_dtype("auto") in (torch.float32, torch.bfloat16)
    for wrong in ("int8", "float33", "nn", ""):
        with pytest.raises(ConfigError, match=r"backbone\.dtype=.*use auto, float32"):
            native_dtype(wrong)


@pytest.mark.parametrize(("capability", "dtype"), [(7, torch.float32), (8, torch.bfloat16), (9, torch.bfloat16)])
def test_a_device_that_only_imitates_bfloat16_gets_float32(monkeypatch, capability, dtype):
    """Volta and Turing: they say that they support it."""
    device = SimpleNamespace(major=capability)
    for name, answer in (
        ("is_available", True), ("current_device", 0), ("get_device_properties", device),
        ("_check_bf16_tensor_supported", True),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    assert torch.cuda.is_bf16_supported()
    assert native_dtype("auto") is dtype


def test_an_end_of_turn_that_is_no_single_token_is_refused():
    broken = tiny.load()
    prompt = type(CHATML)(**{**vars(CHATML), "end_of_turn": "<|end|>"})
    with pytest.raises(ConfigError, match=r"'<\|end\|>' is 7 tokens"):
        Backbone(broken.model, broken.tokenizer, broken.family, prompt, "odd")


def test_an_unknown_frame_is_refused():
    with pytest.raises(ConfigError, match=r"backbone\.image_frame='stretch' is unknown; use pad or squash or crop"):
        tiny.load(image_frame="stretch")


def test_everything_is_frozen_and_the_tower_never_trains(backbone):
    assert not [name for name, parameter in backbone.named_parameters() if parameter.requires_grad]
    backbone.train()
    assert backbone.core.language_model.training
    assert not any(module.training for module in backbone.core.vision_tower.modules())


def test_pixels_padded_with_the_towers_mean_are_nearly_zero_outside_the_image(backbone):
    pixels = square(backbone, Image.new("RGB", (14, 28), "white"))
    assert pixels.shape == (3, 28, 28)
    assert pixels[:, :, :6].abs().max() < 0.02  # (int(255 mean) / 255 - mean) / std
    mean, std = (
        np.array(values) for values in (backbone.family.processor.image_mean, backbone.family.processor.image_std)
    )
    assert torch.allclose(pixels[:, 14, 14], torch.tensor((1 - mean) / std, dtype=torch.float32))


def test_the_crop_frame_keeps_the_middle_only():
    image = Image.new("RGB", (56, 28), "black")
    image.paste("white", (14, 0, 42, 28))
    cropped = square(tiny.load(image_frame="crop"), image)
    assert cropped.shape == (3, 28, 28)
    assert (cropped.flatten(1).max(1).values == cropped.flatten(1).min(1).values).all()  # all white


def test_the_squashed_frame_shows_the_whole_image():
    image = Image.new("RGB", (56, 14), "black")
    image.paste("white", (28, 0, 56, 14))  # the right half
    backbone = tiny.load()
    squashed = square(backbone, image, "squash")
    mean, std = (
        torch.tensor(values) for values in (backbone.family.processor.image_mean, backbone.family.processor.image_std)
    )
    assert squashed.shape == (3, 28, 28)
    assert torch.allclose(squashed[:, :, 0], (-mean / std)[:, None].expand(3, 28), atol=1e-6)
    assert torch.allclose(squashed[:, :, 27], ((1 - mean) / std)[:, None].expand(3, 28), atol=1e-6)
    direct = backbone.family.processor(images=image.resize((28, 28), Image.Resampling.BICUBIC), return_tensors="pt")
    assert torch.equal(squashed, direct["pixel_values"][0])
    assert torch.equal(square(tiny.load(image_frame="squash"), image), squashed)


def test_another_frame_can_be_asked_for():
    image = Image.new("RGB", (56, 28), "red")
    image.paste("blue", (0, 0, 20, 28))
    own = {frame: square(tiny.load(image_frame=frame), image) for frame in ("pad", "squash", "crop")}
    for frame, pixels in own.items():
        assert torch.equal(square(tiny.load(), image, frame), pixels)
    assert not torch.equal(own["pad"], own["squash"])
    assert not torch.equal(own["crop"], own["squash"])
    with pytest.raises(ConfigError, match="'stretch' is unknown"):
        square(tiny.load(), image, "stretch")


def test_boxes_follow_from_frame_and_prompt_unless_they_are_set():
    assert tiny.load().box_format.as_on_disk
    assert tiny.load(image_frame="squash").box_format.describe() == {"frame": "squashed", "numbers": "unit"}
    minigpt = tiny.load(prompt="minigpt_v2", image_frame="squash")
    assert minigpt.box_format.describe() == {"frame": "squashed", "numbers": "percent_tags"}
    set_ = tiny.load(prompt="minigpt_v2", boxes={"frame": "original", "numbers": "unit"})
    assert set_.box_format.describe() == {"frame": "original", "numbers": "unit"}
    with pytest.raises(ConfigError, match=r"backbone\.boxes\.frame='cropped' is unknown"):
        tiny.load(boxes={"frame": "cropped"})


def test_features_are_the_hidden_states_that_llava_selects(backbone):
    pixels = torch.randn(2, 3, 28, 28)
    given = [{"pixel_values": each[None]} for each in pixels]
    features = torch.stack(backbone.encode_images(given))
    states = backbone.core.vision_tower(pixels, output_hidden_states=True).hidden_states
    assert features.dtype is torch.bfloat16
    assert features.shape == (2, backbone.family.feature_count(()), backbone.family.width) == (2, 4, 16)
    assert torch.equal(features, states[-2][:, 1:].bfloat16())  # the layer before the last, without the class token
    backbone.model.config.vision_feature_layer = [-2, -1]
    backbone.model.config.vision_feature_select_strategy = "full"
    both = torch.stack(backbone.encode_images(given))
    assert torch.equal(both, torch.cat([states[-2], states[-1]], dim=-1).bfloat16())


def test_the_tower_key_names_all_that_decides_a_feature(backbone):
    key = backbone.tower_key()
    assert tiny.load().tower_key() == key
    assert tiny.load(prompt="vicuna_v1", max_length=99).tower_key() == key
    frames = {frame: tiny.load(image_frame=frame) for frame in ("crop", "squash")}
    assert {frame: backbone.tower_key(frame) for frame in frames} == {
        frame: other.tower_key() for frame, other in frames.items()
    }
    assert frames["crop"].tower_key("pad") == key
    changed = [tiny.load(init_seed=1), tiny.load(dtype="bfloat16"), *frames.values()]
    other_mean = tiny.load()
    other_mean.family.processor.image_mean = [0.5] * 3
    other_layer = tiny.load()
    other_layer.model.config.vision_feature_layer = -1
    keys = [one.tower_key() for one in [*changed, other_mean, other_layer]]
    assert len({key, *keys}) == 7


def test_the_tower_key_has_the_code_of_a_family_of_others(backbone, tmp_path, monkeypatch):
    """Who mends the features of a family of his own must not get those of before."""
    keys = []
    for number, mended in enumerate(("", "  # mended")):
        (tmp_path / f"mine_{number}.py").write_text(
            "from coin_lightning.backbones.families.llava import Llava\n\n\nclass Mine(Llava):\n"
            f"    def features(self, core, pixels):\n        return super().features(core, pixels){mended}\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(backbone.family, "__class__", __import__(f"mine_{number}").Mine)
        keys.append(backbone.tower_key())
    assert len({*keys, tiny.load().tower_key()}) == 3


def test_the_tower_key_of_the_padded_frame_is_the_one_that_old_caches_have(backbone):
    assert backbone.tower_key() == "0086e318046beb3a"


def test_images_fill_the_image_tokens_in_sample_order(backbone):
    samples = torch.tensor([[7, 3, 3, 3, 3, 8], [9, 9, 9, 9, 9, 9], [3, 3, 3, 3, 5, 6]])
    images = torch.randn(8, 16).bfloat16()
    embeds = entering(backbone, samples, images, 2)
    table = backbone.model.get_input_embeddings().weight
    projected = backbone.core.multi_modal_projector(images.float().view(2, 4, 16))
    assert torch.equal(embeds[0, 1:5], projected[0])
    assert torch.equal(embeds[2, :4], projected[1])
    assert torch.equal(embeds[1], table[samples[1]])
    assert torch.equal(embeds[0, [0, 5]], table[[7, 8]])
    assert torch.equal(entering(backbone, samples[1:2], None, 0), table[samples[1:2]])


@pytest.mark.parametrize(
    ("samples", "images", "found"),
    [
        ([[3, 3, 3, 3, 5], [9, 9, 9, 9, 9]], [1, 1], "[4, 0] image tokens, their images take [4, 4]"),
        ([[3, 3, 3, 3, 5], [3, 3, 3, 3, 9]], [1, 0], "[4, 4] image tokens, their images take [4, 0]"),
        ([[3, 3, 3, 3, 3], [3, 3, 3, 9, 9]], [1, 1], "[5, 3] image tokens, their images take [4, 4]"),
        ([[3, 3, 3, 3, 5], [9, 9, 9, 9, 9]], [0, 0], "[4, 0] image tokens, their images take [0, 0]"),
        ([[3, 3, 3, 3, 5], [9, 9, 9, 9, 9]], [0, 1], "[4, 0] image tokens, their images take [0, 4]"),
    ],
    ids=["too many images", "too few", "moved from sample to sample", "none", "of another sample"],
)
def test_features_never_go_beside_their_places(backbone, samples, images, found):
    with pytest.raises(RunError, match=re.escape(f"tiny: the samples of a batch have {found}; give each")):
        backbone.check_counts(torch.tensor(samples), [[()] * count for count in images])


def test_no_step_waits_for_the_device():
    """On `meta` whatever asks for a number raises: so would a wait for an accelerator show."""
    backbone = tiny.load().to("meta")
    samples = torch.tensor([[3, 3, 3, 3, 5]], device="meta")
    images = backbone.project(torch.empty(4, 16, device="meta"), [()])
    # the decoder itself looks for packed sequences; what is asked here is everything up to it
    backbone.language_model.forward = lambda inputs_embeds, **_: BaseModelOutputWithPast(inputs_embeds)
    assert backbone.hidden_states(samples, images).shape == (1, 5, 32)
    with pytest.raises(RuntimeError, match=r"meta"):
        samples.sum().item()


def test_features_of_another_tower_do_not_go_on_into_the_next_sample(backbone):
    with pytest.raises(RunError, match=re.escape("10 features for images that have [4, 4]; remove cached ones")):
        backbone.project(torch.randn(10, 16), [(), ()])


def test_logits_are_computed_for_learned_tokens_only_and_from_the_token_before(backbone):
    hidden = torch.randn(2, 4, 32)
    labels = torch.tensor([[IGNORE, IGNORE, 11, 2], [13, IGNORE, IGNORE, 2]])  # a first token has nothing before it
    logits, targets = backbone.answer_logits(hidden, labels)
    assert targets.tolist() == [11, 2, 2]
    expected = backbone.model.lm_head(torch.stack([hidden[0, 1], hidden[0, 2], hidden[1, 2]]))
    assert torch.allclose(logits, expected, atol=1e-6)


def test_generation_is_that_of_transformers_with_pixels_and_ids(backbone):
    pixels = torch.randn(1, 3, 28, 28)
    tokens = torch.tensor([labels_of(backbone, [Turn("What is it?", images=1)])[0]])
    (features,) = backbone.encode_images([{"pixel_values": pixels}])
    answer = backbone.answer(tokens, torch.ones_like(tokens), 12, backbone.project(features, [()]))
    output = backbone.model.generate(
        input_ids=tokens, attention_mask=torch.ones_like(tokens), pixel_values=pixels, max_new_tokens=12,
        do_sample=False, eos_token_id=END, pad_token_id=END,
    )  # fmt: skip
    assert answer == [backbone.decode(output[0, tokens.shape[1] :])]


def test_each_pass_of_the_library_reports_which_samples_go_on(backbone, monkeypatch):
    backbone.fast = False
    planned = iter([[40, 41, 42], [END, 43, 44], [45, END, 46], [47, 48, 49]])

    def plan(hidden):
        logits = torch.zeros(*hidden.shape[:2], 261)
        for sample, token in enumerate(next(planned)):
            logits[sample, -1, token] = 1.0
        return logits

    monkeypatch.setattr(backbone.model.lm_head, "forward", plan)
    seen = []
    tokens = torch.full((3, 5), 9)
    answers = backbone.answer(tokens, torch.ones_like(tokens), 4, on_pass=lambda real: seen.append(real.tolist()))
    assert seen == [
        [[1] * 5] * 3,
        [[1], [1], [1]],
        [[0], [1], [1]],
        [[0], [0], [1]],
        [[0], [0], [0]],  # no answer is longer
    ]
    assert answers == [backbone.tokenizer.decode(sample) for sample in ([40], [41, 43], [42, 44, 46, 49])]


def test_what_our_loop_does_not_know_goes_to_the_library(backbone, monkeypatch):
    """A family that says more of its tokens than their positions is not answered as if it had not."""
    given = []
    monkeypatch.setattr(backbone, "_generated", lambda *args: given.append(args[4]) or ["by the library"])
    tokens = torch.full((1, 5), 9)
    types = {"token_type_ids": torch.zeros_like(tokens)}
    assert backbone.answer(tokens, torch.ones_like(tokens), 4, layout=types) == ["by the library"]
    assert given == [types]
    assert backbone.beginnings(tokens.repeat(4, 1), torch.ones(4, 5), types, [0] * 4) is None
    positions = {"position_ids": torch.arange(5).unsqueeze(0)}
    assert backbone.answer(tokens, torch.ones_like(tokens), 4, layout=positions) != ["by the library"]


def test_decoding_stops_at_the_first_end_of_turn_and_strips_blanks(backbone):
    sample = torch.tensor([*ids(" a b\n"), END, *ids("c"), END])
    assert backbone.decode(sample) == "a b"
    assert backbone.decode(torch.tensor(ids("a"))) == "a"
    assert backbone.decode(torch.tensor([END])) == ""


def test_a_checkpoints_own_end_of_text_ends_an_answer_too():
    """As of a base model that was not tuned on the prompt: what it writes behind its own end is no answer."""
    made = tiny.load()
    own = next(id_ for id_ in made.tokenizer.all_special_ids if id_ != END)
    made.model.generation_config.eos_token_id = [own, ids("c")[0]]
    backbone = Backbone(made.model, made.tokenizer, made.family, made.prompt, made.name)
    assert backbone.end_ids == {END, own, backbone.tokenizer.eos_token_id}  # "c" is no marker
    sample = torch.tensor([*ids("Yes"), own, *ids("Human: what"), END])
    assert backbone.decode(sample) == "Yes"
    assert backbone.model.generation_config.eos_token_id == sorted(backbone.end_ids)


def test_the_tiny_backbone_stays_under_a_million_parameters(backbone):
    assert sum(math.prod(parameter.shape) for parameter in backbone.parameters()) < 1_000_000


def test_the_head_gets_samples_that_lie_together_when_generating(backbone):
    """A strided view makes `linear` copy the vocabulary matrix once per sample."""
    tokens = torch.tensor([[1, 2, 9, 4], [5, 6, 7, 8]])
    seen = []
    hook = backbone.model.lm_head.register_forward_hook(lambda head, inputs, output: seen.append(inputs[0]))
    backbone.fast = False
    backbone.answer(tokens, torch.ones_like(tokens), 2)
    hook.remove()
    assert [tuple(samples.shape[:2]) for samples in seen] == [(2, 1), (2, 1)]
    assert all(samples.is_contiguous() for samples in seen)


@pytest.mark.parametrize("name", ["chatml", "vicuna_v1"])
def test_many_conversations_are_counted_as_one_by_one(name):
    """Also where a text spells out a marker."""
    backbone = tiny.load(prompt=name)
    texts = [("Why?", "ü"), ("<|im_end|> </s>", "no"), ("What is <image>?", "it"), ("", "x" * 50)]
    talks = [[Turn(*text, images=int(image)), Turn("And?", "yes")] for text in texts for image in (True, False)]
    pages = [backbone.prompt.render(talk) for talk in talks]
    counts = backbone.token_counts(pages)
    assert counts == [len(backbone.tokens(page)[0]) for page in pages]
    assert backbone.token_counts([]) == []


def test_features_computed_in_a_step_are_those_computed_ahead():
    """A step in mixed precision would let the tower's norms, and all behind them, compute in float32."""
    backbone = tiny.load(dtype="bfloat16")
    pixels = [backbone.pixels(Image.effect_noise((40, 28), 90).convert("RGB"))]
    (ahead,) = backbone.encode_images(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        (within,) = backbone.encode_images(pixels)
    assert torch.equal(ahead, within)
