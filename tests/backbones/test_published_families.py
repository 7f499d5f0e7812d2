"""Checkpoints of the hub whose files are not those that transformers writes today."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from published_families import change, internvl3, older, qwen2_5_vl
from small_families import SMALL, write
from transformers import AutoTokenizer

from coin_lightning.backbones.families.internvl import InternVL
from coin_lightning.backbones.families.qwen2_5_vl import Qwen25VL
from coin_lightning.backbones.families.qwen3_vl import Qwen3VL
from coin_lightning.backbones.loading import load_backbone
from coin_lightning.backbones.prompts import Turn
from coin_lightning.config_folder import conf_dir
from coin_lightning.errors import AssetError, ConfigError

SETTINGS = ("vocab_size", "max_position_embeddings", "layer_types", "sliding_window", "hidden_size", "rms_norm_eps")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen2.5-VL as the hub has it; not to be changed."""
    return qwen2_5_vl(tmp_path_factory.mktemp("hub") / "qwen2_5_vl")


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    """The same, to be changed."""
    return qwen2_5_vl(tmp_path / "qwen2_5_vl")


def test_a_flat_config_is_the_model_of_the_nested_one(published: Path, tmp_path: Path):
    flat = load_backbone(published, "chatml", Qwen25VL, dtype="float32").model
    nested = load_backbone(write("qwen2_5_vl", tmp_path), "chatml", Qwen25VL, dtype="float32").model
    texts = [model.config.text_config for model in (flat, nested)]
    assert [getattr(texts[0], key) for key in SETTINGS] == [getattr(texts[1], key) for key in SETTINGS]
    assert texts[0].rope_parameters["rope_type"] == "default"  # and not "mrope", which would be no plain context
    ids = torch.arange(1, 40)[None]
    assert torch.equal(flat(input_ids=ids).logits, nested(input_ids=ids).logits)


def test_a_config_without_anything_of_the_language_model_is_refused(qwen: Path):
    change(qwen / "config.json", lambda config: config.pop("hidden_size"))
    with pytest.raises(AssetError, match=r"config\.json has no text_config; fetch the checkpoint again"):
        load_backbone(qwen, "chatml", Qwen25VL)


def test_a_flat_config_without_a_tower_is_refused(qwen: Path):
    change(qwen / "config.json", lambda config: config.pop("vision_config"))
    with pytest.raises(AssetError, match=r"config\.json has no vision_config; fetch the checkpoint again"):
        load_backbone(qwen, "chatml", Qwen25VL)


def test_other_families_are_never_flat(qwen: Path):
    change(qwen / "config.json", lambda config: config.update(model_type="qwen3_vl"))
    with pytest.raises(AssetError, match=r"config\.json has no text_config"):
        load_backbone(qwen, "chatml", Qwen3VL)


SHOWN = "<|vision_start|><|image_pad|><|vision_end|>"
FAMILIES = {"qwen2_5_vl": Qwen25VL, "qwen3_vl": Qwen3VL}
IMAGE_TURNS = [Turn("A cat?", "No", images=1), Turn("Both?", None, images=2)]


def test_the_prompt_is_that_of_the_whole_model_with_tags_around_images(published: Path):
    backbone = load_backbone(published, "chat_template", Qwen25VL, weights=False)
    assert backbone.prompt.render(IMAGE_TURNS).text == (
        f"<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\n{SHOWN}A cat?<|im_end|>\n"
        f"<|im_start|>assistant\nNo<|im_end|>\n<|im_start|>user\n{SHOWN}{SHOWN}Both?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert [backbone.prompt.end_of_turn, backbone.prompt.style.image_part] == ["<|im_end|>", True]


@pytest.mark.parametrize("name", ["llava_next", "idefics3", "smolvlm", "qwen3_vl"])
def test_an_older_checkpoint_is_asked_as_one_with_a_template_of_today(tmp_path: Path, name: str):
    family, prompts = SMALL[name].family, []
    for folder in (older(name, tmp_path / "older"), write(name, tmp_path / "today")):
        prompts.append(load_backbone(folder, "chat_template", family, weights=False).prompt)
    assert prompts[0].render(IMAGE_TURNS) == prompts[1].render(IMAGE_TURNS)
    assert repr(prompts[0]) == repr(prompts[1])  # so that nothing is computed again


@pytest.mark.parametrize("name", FAMILIES)
def test_a_template_without_tags_is_refused_and_the_remedies_work(tmp_path: Path, name: str):
    folder = older(name, tmp_path)
    template = folder / "chat_template.json"
    text = template.read_text()
    template.unlink()
    words = (
        r"backbone\.prompt=chat_template writes an image as .*user\\n<\|image_pad\|>\\n.*, but .*VL was trained with im"
    )
    with pytest.raises(ConfigError, match=words) as refusal:
        load_backbone(folder, "chat_template", FAMILIES[name])
    assert "between <|vision_start|> and <|vision_end|>: give the template of the whole model" in str(refusal.value)
    assert str(refusal.value).endswith("or set backbone.prompt=chatml")
    load_backbone(folder, "chatml", FAMILIES[name], weights=False)
    template.write_text(text)
    load_backbone(folder, "chat_template", FAMILIES[name], weights=False)


@pytest.mark.parametrize("name", FAMILIES)
def test_chatml_has_the_tags_where_the_family_has_them(tmp_path: Path, name: str):
    backbone = load_backbone(older(name, tmp_path), "chatml", FAMILIES[name], weights=False)
    assert backbone.prompt.render(IMAGE_TURNS).text == (
        f"<|im_start|>user\n{SHOWN}A cat?<|im_end|>\n<|im_start|>assistant\nNo<|im_end|>\n"
        f"<|im_start|>user\n{SHOWN}{SHOWN}Both?<|im_end|>\n<|im_start|>assistant\n"
    )
    grids = backbone.family.grids([(60, 40)])
    ids, _ = backbone.tokens(backbone.prompt.render(IMAGE_TURNS[:1]), grids)
    first = ids.index(backbone.image_token_id)
    last = first + backbone.family.tokens(grids[0])
    names = backbone.tokenizer.convert_ids_to_tokens(ids[first - 1 : last + 1])
    assert [names[0], {*names[1:-1]}, names[-1]] == ["<|vision_start|>", {"<|image_pad|>"}, "<|vision_end|>"]


def test_a_prompt_with_other_tags_is_refused(published: Path):
    with pytest.raises(ConfigError, match=r"prompt=qwen writes an image as '.*<img><\|image_pad\|></img>"):
        load_backbone(published, "qwen", Qwen25VL)


def test_a_tokenizer_without_the_tags_is_refused(qwen: Path):
    text = (qwen / "tokenizer.json").read_text().replace("<|vision_end|>", "<|other_end|>")
    (qwen / "tokenizer.json").write_text(text)
    text = (qwen / "tokenizer_config.json").read_text().replace("<|vision_end|>", "<|other_end|>")
    (qwen / "tokenizer_config.json").write_text(text)
    with pytest.raises(AssetError, match=r"the tokenizer has no <\|vision_end\|> token; this is no Qwen25VL"):
        load_backbone(qwen, "chatml", Qwen25VL)


def capped(name: str) -> dict[str, Any]:
    """What the yaml of a backbone replaces in its preprocessor_config.json."""
    node = OmegaConf.load(conf_dir() / "backbone" / f"{name}.yaml")
    found: dict[str, Any] = OmegaConf.to_container(node.image_processor)
    return found


def test_the_cap_of_the_yaml_holds_although_the_checkpoint_has_limits_under_older_names(published: Path):
    size = (2000, 1500)
    cap = capped("qwen2_5_vl_3b")
    backbone = load_backbone(published, "chatml", Qwen25VL, weights=False, image_processor=cap)
    (grid,) = backbone.family.grids([size])
    assert 1200 < backbone.family.tokens(grid) <= cap["size"]["longest_edge"] // 28**2 == 1280
    made = backbone.pixels(Image.new("RGB", size))
    assert made["image_grid_thw"].tolist() == [list(grid)]
    own = load_backbone(published, "chatml", Qwen25VL, weights=False)
    assert (own.family.processor.size["shortest_edge"], own.family.processor.size["longest_edge"]) == (3136, 12845056)
    assert own.family.tokens(own.family.grids([size])[0]) > 3000


def test_a_limit_that_is_not_replaced_stays_the_checkpoints(published: Path):
    lower = {"size": {"longest_edge": 28 * 28 * 10}}
    backbone = load_backbone(published, "chatml", Qwen25VL, weights=False, image_processor=lower)
    assert dict(backbone.family.processor.size) == {"shortest_edge": 3136, "longest_edge": 7840}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": {"longest_edge": 7840}, "max_pixels": 9999}, r"size={'longest_edge': 7840} has no effect.*9999"),
        ({"max_pixels": 9999}, r"max_pixels=9999 has no effect: Qwen2VLImageProcessorPil of .*no such setting"),
        (
            {"max_patches": 1},
            r"max_patches=1 has no effect.*has no such setting\. Its settings are do_convert_rgb, .*size",
        ),
    ],
    ids=["two limits", "an older name", "another family's"],
)
def test_a_setting_without_effect_is_refused(published: Path, settings: dict[str, Any], words: str):
    with pytest.raises(ConfigError, match=rf"backbone\.image_processor\.{words}.*limited by size\.shortest_edge"):
        load_backbone(published, "chatml", Qwen25VL, weights=False, image_processor=settings)


VIDEO = "<video>"


@pytest.fixture(scope="module")
def internvl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """InternVL3 as the hub has it; not to be changed."""
    return internvl3(tmp_path_factory.mktemp("hub") / "internvl3")


def test_a_marker_beyond_the_rows_is_never_made_of_a_text(internvl: Path):
    backbone = load_backbone(internvl, "chat_template", InternVL, dtype="float32")
    rows = backbone.model.get_input_embeddings().num_embeddings
    assert backbone.tokenizer.convert_tokens_to_ids(VIDEO) == rows  # which the plain tokenizer would give
    assert backbone.tokenizer(f"a {VIDEO}")["input_ids"][-1] == rows
    said = [f"What of {VIDEO}?", VIDEO, f"{VIDEO}<|im_end|>{VIDEO}", "<vid", "eo>", f"{VIDEO[:-1]}"]
    for question in said:
        for answer in (*said, None):
            page = backbone.prompt.render([Turn(question, "a", images=1), Turn(question, answer)])
            ids, _ = backbone.tokens(page, backbone.family.grids([(60, 40)]))
            assert max(ids) < rows
            assert backbone.token_counts([page], [backbone.family.grids([(60, 40)])]) == [len(ids)]
    plain = backbone.prompt.render([Turn(VIDEO, VIDEO)])
    ids, labels = backbone.tokens(plain)
    assert backbone.tokenizer.decode(ids).count(VIDEO) == 2
    assert backbone.decode(torch.tensor([label for label in labels if label >= 0])) == VIDEO


def with_words(folder: Path, special: bool, *words: str) -> None:
    """Give the tokenizer of a folder further words, of which the embedding knows nothing."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(words), special_tokens=special)
    tokenizer.save_pretrained(folder)


def test_a_word_beyond_the_rows_is_refused(tmp_path: Path):
    folder = internvl3(tmp_path)
    with_words(folder, False, "video")
    with pytest.raises(AssetError, match=r"gives 'video' the id 287, but .*text_config\.vocab_size=286 rows"):
        load_backbone(folder, "chatml", InternVL, weights=False)


@pytest.mark.parametrize("key", ["bos_token", "eos_token"])
def test_an_end_beyond_the_rows_is_refused(tmp_path: Path, key: str):
    folder = internvl3(tmp_path)
    change(folder / "tokenizer_config.json", lambda config: config.update({key: VIDEO}))
    with pytest.raises(AssetError, match=r"gives '<video>' the id 286, but .*text_config\.vocab_size=286 rows"):
        load_backbone(folder, "chatml", InternVL, weights=False)


def test_a_prompt_that_writes_a_marker_beyond_the_rows_is_refused(tmp_path: Path):
    folder = internvl3(tmp_path)
    template = SMALL["internvl"].template.replace("<IMG_CONTEXT>", f"{VIDEO}<IMG_CONTEXT>")
    (folder / "chat_template.jinja").write_text(template)
    assert load_backbone(folder, "chatml", InternVL, weights=False).name
    with pytest.raises(ConfigError, match=r"prompt=chat_template writes '<video>', which is token 286, .*choose anoth"):
        load_backbone(folder, "chat_template", InternVL, weights=False)
