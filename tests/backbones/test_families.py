"""Every family on a small random model: its features, logits, gradients and answers are those of the library itself."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from small_families import SMALL, small, write
from torch import Tensor

from coin_lightning.adapters.build import load_adapter, moelora, save_adapter
from coin_lightning.adapters.targets import put_adapter
from coin_lightning.backbones import base
from coin_lightning.backbones.base import IGNORE, Backbone
from coin_lightning.backbones.greedy import Prompts, shared_beginnings
from coin_lightning.backbones.loading import load_backbone
from coin_lightning.backbones.prompts import Turn
from coin_lightning.errors import AssetError
from coin_lightning.evaluation.corrected_rules import grounding
from coin_lightning.tasks.collate import Encoder
from coin_lightning.tasks.sample_format import Media, TrainSample

MROPE = ("qwen2_5_vl", "qwen3_vl")
SIZES = [(60, 40), (28, 90), (130, 131), (33, 57)]
"""Width and height; small and odd, so that tiles, padding and merging all happen."""


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(values.numpy())


IMAGES = [picture(size, seed) for seed, size in enumerate(SIZES)]
TALKS = [
    ([0], [Turn("What is it?", "A cat", 1)]),
    ([], [Turn("Why?", "No")]),
    ([1], [Turn("A longer question about it", "Yes, it is", 1), Turn("Sure?", "No")]),
    ([2, 3], [Turn("Both?", "No", 2)]),
]
"""Images and turns of a sample: one image, none, one with two turns, two images."""


@pytest.fixture(scope="module", params=list(SMALL))
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return small(request.param)


def grids(backbone: Backbone, images: list[int]) -> list[Any]:
    return backbone.family.grids([SIZES[at] for at in images])


def encoded(backbone: Backbone, images: list[int], turns: list[Turn]) -> tuple[list[int], list[int]]:
    return backbone.tokens(backbone.prompt.render(turns), grids(backbone, images))


def direct(backbone: Backbone, images: list[int], ids: Tensor) -> dict[str, Any]:
    """What the library's own model takes for one sample, from pixels."""
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    name = backbone.name
    if name in MROPE:
        inputs["mm_token_type_ids"] = (ids == backbone.image_token_id).int()
    if name == "gemma3":
        inputs["token_type_ids"] = (ids == backbone.image_token_id).long()
    if not images:
        return inputs
    found = [backbone.pixels(IMAGES[at]) for at in images]
    values = [each["pixel_values"] for each in found]
    if name in ("llava_next", "llava_onevision"):
        most = max(value.shape[1] for value in values)
        values = [F.pad(value, (0, 0, 0, 0, 0, 0, 0, most - value.shape[1])) for value in values]
        inputs["image_sizes"] = torch.cat([each["image_sizes"] for each in found])
        if name == "llava_onevision":
            inputs["batch_num_images"] = torch.tensor([len(images)])
    if name in MROPE:
        inputs["image_grid_thw"] = torch.cat([each["image_grid_thw"] for each in found])
    inputs["pixel_values"] = torch.cat(values)
    if name in ("idefics3", "smolvlm"):
        inputs["pixel_values"] = inputs["pixel_values"][None]
    return inputs


def batch_of(backbone: Backbone, talks: list[tuple[list[int], list[Turn]]], left: bool) -> dict[str, Any]:
    pairs = [encoded(backbone, *talk) for talk in talks]
    width = max(len(ids) for ids, _ in pairs)
    ids = torch.full((len(pairs), width), backbone.end_id)
    labels, mask = torch.full_like(ids, IGNORE), torch.zeros_like(ids)
    for at, (tokens, learned) in enumerate(pairs):
        place = slice(width - len(tokens), width) if left else slice(0, len(tokens))
        ids[at, place], labels[at, place], mask[at, place] = torch.tensor(tokens), torch.tensor(learned), 1
    all_grids = [grid for images, _ in talks for grid in grids(backbone, images)]
    pixels = [backbone.pixels(IMAGES[at]) for images, _ in talks for at in images]
    features = torch.cat(exact_features(backbone, pixels)) if pixels else None
    return {
        "ids": ids, "labels": labels, "mask": mask, "images": backbone.project(features, all_grids),
        "layout": backbone.layout(ids, mask if left else None, all_grids),
    }  # fmt: skip


@torch.no_grad()
def exact_features(backbone: Backbone, pixels: list[Any]) -> list[Tensor]:
    """Not rounded to bfloat16, which the library's own way is not."""
    return backbone.family.features(backbone.core, pixels)


def test_each_image_has_as_many_features_and_tokens_as_its_size_says(backbone: Backbone):
    family = backbone.family
    for image, size in zip(IMAGES, SIZES, strict=True):
        (grid,) = family.grids([size])
        (features,) = backbone.encode_images([backbone.pixels(image)])
        assert features.shape == (family.feature_count(grid), family.width)
        assert features.dtype is torch.bfloat16
        ids, _ = backbone.tokens(backbone.prompt.render([Turn("a", "b", 1)]), [grid])
        assert ids.count(backbone.image_token_id) == family.tokens(grid)
        (count,) = backbone.token_counts([backbone.prompt.render([Turn("a", "b", 1)])], [[grid]])
        assert count == len(ids)


@pytest.mark.parametrize("images", [[0], [1], [2], [3]], ids=str)
def test_projected_features_are_the_librarys(backbone: Backbone, images: list[int]):
    inputs = direct(backbone, images, torch.tensor([[1]]))
    given = {name: value for name, value in inputs.items() if name in ("pixel_values", "image_sizes", "image_grid_thw")}
    expected = backbone.core.get_image_features(**given, return_dict=True).pooler_output
    features = torch.cat(exact_features(backbone, [backbone.pixels(IMAGES[at]) for at in images]))
    found = backbone.project(features, grids(backbone, images)).pooler_output
    torch.testing.assert_close(flat(found), flat(expected), rtol=1e-5, atol=1e-6)


def flat(parts: Any) -> Tensor:
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])


def test_logits_and_gradients_of_a_mixed_padded_batch_are_the_librarys_sample_by_sample(backbone: Backbone):
    backbone.requires_grad_(True)
    batch = batch_of(backbone, TALKS, left=False)
    hidden = backbone.hidden_states(batch["ids"], batch["images"], batch["layout"])
    logits, targets = backbone.answer_logits(hidden, batch["labels"])
    ours = torch.autograd.grad(F.cross_entropy(logits, targets, reduction="sum"), learned(backbone), allow_unused=True)
    found, total = [], torch.zeros(())
    for images, turns in TALKS:
        ids, labels = encoded(backbone, images, turns)
        expected = backbone.model(**direct(backbone, images, torch.tensor([ids]))).logits[0, :-1]
        wanted = torch.tensor(labels[1:])
        found.append(expected[wanted != IGNORE])
        total = total + F.cross_entropy(expected, wanted, ignore_index=IGNORE, reduction="sum")
    torch.testing.assert_close(logits, torch.cat(found), rtol=1e-4, atol=1e-5)
    theirs = torch.autograd.grad(total, learned(backbone), allow_unused=True)
    assert len(ours) > 20
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).norm() <= 1e-4 * other.norm() + 1e-6
    backbone.requires_grad_(False)


def learned(backbone: Backbone) -> list[Tensor]:
    """Weights of language model and projectors."""
    return [weight for part in (backbone.language_model, *backbone.projectors) for weight in part.parameters()]


ASKED = [
    *((images, [Turn(turns[0].question, None, len(images))]) for images, turns in TALKS),
    ([0], [Turn("What is its colour, please?", None, 1)]),
    ([0], [Turn("What is it?", None, 1)]),
]
"""Of the last two and the first talk with this image all shows alike up to the question."""


def one_by_one(backbone: Backbone, length: int) -> list[str]:
    """Answers of the library to each, from pixels."""
    answers = []
    for images, turns in ASKED:
        ids = torch.tensor([encoded(backbone, images, turns)[0]])
        inputs = direct(backbone, images, ids)
        output = backbone.model.generate(**inputs, max_new_tokens=length, do_sample=False, num_beams=1)
        answers.append(backbone.decode(output[0, ids.shape[1] :]))
    return answers


@pytest.mark.parametrize("fast", [True, False])
def test_answers_of_a_padded_batch_are_the_librarys_one_by_one(backbone: Backbone, fast: bool):
    batch = batch_of(backbone, ASKED, left=True)
    passes: list[Tensor] = []
    backbone.fast = fast
    answers = backbone.answer(
        batch["ids"], batch["mask"], 6, batch["images"], batch["layout"], on_pass=lambda real: passes.append(real + 0)
    )
    assert answers == one_by_one(backbone, 6)
    assert any(answers)
    assert int(passes[0].sum()) == int(batch["mask"].sum())
    assert all(each.shape[1] == 1 for each in passes[1:])


def test_answers_with_an_attention_that_adds_its_mask_are_the_librarys(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
):
    """`eager` would add our masks of truth values to the scores, where every place is seen."""
    configs = {id(part.config): part.config for part in backbone.model.modules() if hasattr(part, "config")}
    for config in configs.values():
        monkeypatch.setattr(config, "_attn_implementation_internal", config._attn_implementation_internal)
    backbone.language_model.set_attn_implementation("eager")
    batch = batch_of(backbone, ASKED, left=True)
    answers = backbone.answer(batch["ids"], batch["mask"], 6, batch["images"], batch["layout"])
    assert not backbone.answers_itself
    assert answers == one_by_one(backbone, 6)


def test_a_sliding_window_is_left_to_the_library(backbone: Backbone, monkeypatch: pytest.MonkeyPatch):
    """Our loop shows every token all that come before it."""
    before, config = backbone.answers_itself, backbone.language_model.config
    for kinds, window, itself in (
        (None, 8, False), (None, backbone.max_length, before), (["full_attention"] * 2, 8, before),
        (["full_attention", "sliding_attention"], 8, False), (["full_attention", "chunked_attention"], None, False),
    ):  # fmt: skip
        monkeypatch.setattr(config, "layer_types", kinds, raising=False)
        monkeypatch.setattr(config, "sliding_window", window, raising=False)
        assert backbone.answers_itself == itself, (kinds, window)


@pytest.mark.parametrize("fast", [True, False])
def test_a_batch_that_is_read_in_parts_gets_the_same_answers(
    backbone: Backbone, fast: bool, monkeypatch: pytest.MonkeyPatch
):
    batch, asked = batch_of(backbone, ASKED, left=True), []
    monkeypatch.setattr(base, "READ_AT_ONCE", 1)
    backbone.fast = fast

    def images(samples: Sequence[int]) -> Any:
        asked.append(list(samples))
        return batch_of(backbone, [ASKED[sample] for sample in samples], left=True)["images"]

    answers = backbone.answer(batch["ids"], batch["mask"], 6, images, batch["layout"])
    assert answers == one_by_one(backbone, 6)
    assert len(asked) == (len(ASKED) if backbone.answers_itself else 1)


def test_one_pass_over_images_that_several_samples_show_changes_no_answer(backbone: Backbone):
    batch = batch_of(backbone, ASKED, left=True)
    numbers: dict[tuple[int, ...], int] = {}
    same = [numbers.setdefault(tuple(images) or (-1, at), len(numbers)) for at, (images, _) in enumerate(ASKED)]
    prompts = Prompts.of(batch["ids"], batch["mask"], batch["layout"].get("position_ids"))
    shared = shared_beginnings(prompts, same, backbone.image_token_id, worth=1.0)
    assert shared is not None
    if not backbone.answers_itself:
        assert backbone.beginnings(batch["ids"], batch["mask"], batch["layout"], same) is None
        return
    shown = [image for first in shared.first.tolist() for image in ASKED[first][0]]
    images = backbone.project(
        torch.cat(exact_features(backbone, [backbone.pixels(IMAGES[at]) for at in shown])), grids(backbone, shown)
    )
    passes: list[Tensor] = []
    keep = lambda real: passes.append(real + 0)  # noqa: E731
    answers = backbone.answer(
        batch["ids"], batch["mask"], 6, images, batch["layout"], on_pass=keep, shared=shared
    )  # fmt: skip
    assert answers == one_by_one(backbone, 6)
    assert len(passes[0]) == len(set(same)) < len(same)
    assert int(passes[0].sum() + passes[1].sum()) == int(batch["mask"].sum())


def test_a_prefix_takes_the_first_places_in_training_and_in_answering(backbone: Backbone):
    """Embeddings of tokens as a prefix are the tokens themselves."""
    talks = [(TALKS[0][0], [Turn("What?", None, 1)])]
    batch = batch_of(backbone, talks, left=True)
    prefix = backbone.model.get_input_embeddings()(batch["ids"][:, :3])
    changed = batch["ids"].clone()
    changed[:, :3] = backbone.end_id
    plain = backbone.hidden_states(batch["ids"], batch["images"], batch["layout"])
    put = backbone.hidden_states(changed, batch["images"], batch["layout"], prefix)
    torch.testing.assert_close(put, plain)
    answers = [
        backbone.answer(ids, batch["mask"], 5, batch["images"], batch["layout"], given)
        for ids, given in ((batch["ids"], None), (changed, prefix))
    ]
    assert answers[0] == answers[1]


def test_a_box_is_written_and_scored_as_the_familys_authors_write_boxes(tmp_path: Path):
    """Of an image of 60 x 40, which the small Qwen2.5-VL sees as 56 x 28; on disk a box is of the padded square."""
    IMAGES[0].save(tmp_path / "a.png")
    expected = {
        "llava": "[0.0,0.17,0.5,0.83]", "qwen3_vl": "[0,5,500,995]", "internvl": "<box>[[0, 5, 500, 995]]</box>",
        "qwen2_5_vl": "[0,0,28,28]", "gemma3": "[0.0,0.01,0.5,0.99]",
    }  # fmt: skip
    for family, written in expected.items():
        backbone = load_backbone(
            write(family, tmp_path / family), "chat_template", SMALL[family].family, dtype="float32"
        )
        encoder = Encoder(backbone, tmp_path, None, boxes="converted")
        sample = TrainSample("1", (Turn("Where?", "[0.0,0.17,0.5,0.83]", 1),), (Media("a.png"),), "here")
        assert encoder.turns(sample)[0].answer == written
        reference = encoder.reference({"answer_bbox": "[0.0,0.17,0.5,0.83]", "size": [60, 40]})
        assert grounding(written, reference) == 1.0
        assert grounding(written.replace("0.5", "0.1").replace("500", "100").replace("28,", "4,"), reference) == 0.0


OTHER_PROCESSOR = {
    "llava": ("crop_size", {"height": 42, "width": 42}), "llava_next": ("crop_size", {"height": 42, "width": 42}),
    "llava_onevision": ("size", {"height": 42, "width": 42}), "qwen2_5_vl": ("patch_size", 16),
    "qwen3_vl": ("patch_size", 14), "internvl": ("size", {"height": 28, "width": 28}),
    "idefics3": ("max_image_size", {"longest_edge": 84}), "smolvlm": ("max_image_size", {"longest_edge": 84}),
    "gemma3": ("size", {"height": 28, "width": 28}), "qwen_vl": ("size", {"height": 28, "width": 28}),
    "minigpt_v2": ("size", {"height": 28, "width": 28}),
}  # fmt: skip
"""A setting of the image preprocessing that the small model's tower does not have."""


@pytest.mark.parametrize("name", SMALL)
def test_a_processor_of_another_tower_is_refused_without_a_weight(name: str, tmp_path: Path):
    folder = write(name, tmp_path)
    load_backbone(folder, "chatml", SMALL[name].family, weights=False)
    file, (key, value) = folder / "preprocessor_config.json", OTHER_PROCESSOR[name]
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(AssetError, match=r"preprocessor_config\.json makes .*vision_config"):
        load_backbone(folder, "chatml", SMALL[name].family, weights=False)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("internvl", "image_seq_length", 32), ("idefics3", "scale_factor", 4), ("llava_onevision", "vision_aspect_ratio",
                                                                            "anyres_max_1")],
)  # fmt: skip
def test_the_text_key_names_what_the_model_makes_of_an_image(name: str, key: str, value: Any):
    def counted(changes: dict[str, Any]) -> tuple[str, int]:
        made = small(name)
        assert getattr(made.model.config, key) not in changes.values()
        for field, new in changes.items():
            setattr(made.model.config, field, new)
        page = made.prompt.render([Turn("What?", "A cat", 1)])
        return made.text_key(), len(made.tokens(page, made.family.grids([(130, 131)]))[0])

    (key_before, before), (key_after, after) = counted({}), counted({key: value})
    assert before != after
    assert key_before != key_after
    assert counted({})[0] == key_before


@pytest.mark.parametrize("name", SMALL)
def test_a_projector_that_learns_is_no_part_of_the_towers_name(name: str):
    backbone = small(name)
    before = backbone.tower_key()
    config = moelora(rank=8, alpha=16, num_experts=4, dropout=0.0)
    config.modules_to_save = list(backbone.family.projectors)
    carried = put_adapter(backbone.model, backbone.language_model, config)
    with torch.no_grad():
        for weight in (weight for weight in carried.parameters() if weight.requires_grad):
            weight += 1.0
    backbone._tower_keys.clear()
    assert backbone.tower_key() == before


@pytest.mark.parametrize("name", SMALL)
def test_a_saved_adapter_with_its_projector_is_loaded_into_a_new_model(name: str, tmp_path: Path):
    def adapted() -> tuple[Backbone, Any]:
        backbone = small(name)
        config = moelora(rank=8, alpha=16, num_experts=4, dropout=0.0)
        config.modules_to_save = list(backbone.family.projectors)
        return backbone, put_adapter(backbone.model, backbone.language_model, config)

    def states(backbone: Backbone) -> Tensor:
        batch = batch_of(backbone, TALKS, left=False)
        return backbone.hidden_states(batch["ids"], batch["images"], batch["layout"])

    (first, learned), (second, fresh) = adapted(), adapted()
    with torch.no_grad():
        for weight in learned.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn_like(weight)
    save_adapter(learned, tmp_path)
    assert not torch.allclose(states(first), states(second), atol=1e-3)
    load_adapter(fresh, tmp_path)
    assert torch.equal(states(first), states(second))
