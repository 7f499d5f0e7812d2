"""A LLaVA put together from parts, against one that was written whole."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from llava_parts import write_parts
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)

from coin_lightning.backbones import starting_weights
from coin_lightning.backbones.loading import load_backbone
from coin_lightning.backbones.prompts import Turn
from coin_lightning.backbones.starting_weights import Parts, check_start, grow_vocabulary, pretrained_checkpoint
from coin_lightning.errors import AssetError, ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:transformers")


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    """`whole`, a LLaVA as `llava-hf` publishes it, and what it would have been made of, in one folder."""
    folder = tmp_path_factory.mktemp("hub")
    write_parts(folder)
    return folder


def parts_of(hub: Path, **changed: str | Path | None) -> dict[str, str | None]:
    named = {"language_model": hub / "vicuna", "vision_tower": hub / "clip", "projector": hub / "mm_projector.bin"}
    return {part: None if source is None else str(source) for part, source in {**named, **changed}.items()}


@pytest.fixture(scope="module")
def built(hub, tmp_path_factory) -> Path:
    return pretrained_checkpoint(Parts(parts_of(hub)), tmp_path_factory.mktemp("cache"))


def test_the_tokenizer_gets_the_two_new_words_at_its_end(built, hub):
    tokenizer = AutoTokenizer.from_pretrained(built)
    whole = AutoTokenizer.from_pretrained(hub / "whole")
    words = whole.convert_tokens_to_ids("<image>")
    assert tokenizer.convert_tokens_to_ids(["<image>", "<pad>"]) == [words, words + 1]
    assert tokenizer.pad_token == "<pad>"
    for text in ("USER: <image>\nA cat? ASSISTANT: No</s>", "<pad> x<image><image>"):
        assert tokenizer(text)["input_ids"] == whole(text)["input_ids"]


def test_the_settings_are_those_of_the_published_checkpoint(built, hub):
    ours, theirs = (json.loads((folder / "config.json").read_text()) for folder in (built, hub / "whole"))
    for key in ("image_token_index", "image_seq_length", "vision_feature_layer", "vision_feature_select_strategy",
                "projector_hidden_act", "architectures", "model_type"):  # fmt: skip
        assert ours[key] == theirs[key], key
    assert ours["text_config"]["vocab_size"] == theirs["vocab_size"]
    assert ours["vision_config"]["patch_size"] == theirs["vision_config"]["patch_size"]


def test_every_weight_is_in_its_place(built, hub):
    ours, whole = (load_backbone(folder, dtype="float32") for folder in (built, hub / "whole"))
    words = whole.image_token_id
    other = whole.model.state_dict()
    assert set(ours.model.state_dict()) == set(other)
    for name, tensor in ours.model.state_dict().items():
        grown = "embed_tokens" in name or "lm_head" in name
        assert torch.equal(tensor[:words] if grown else tensor, other[name][:words] if grown else other[name]), name
        if grown:
            assert torch.allclose(tensor[words:], tensor[:words].mean(0).expand_as(tensor[words:]), atol=1e-7)


@torch.no_grad()
def test_it_answers_as_the_whole_one(built, hub):
    ours, whole = (load_backbone(folder, dtype="float32") for folder in (built, hub / "whole"))
    image = Image.effect_noise((40, 28), 90).convert("RGB")
    logits = []
    for backbone in (ours, whole):
        ids, _ = backbone.tokens(backbone.prompt.render([Turn("cat", "No", images=1)]))
        features = backbone.encode_images([backbone.pixels(image)])[0]
        hidden = backbone.hidden_states(torch.tensor([ids]), backbone.project(features, [()]))
        logits.append(backbone.model.lm_head(hidden)[..., : backbone.image_token_id])
    assert torch.equal(*logits)


def test_starting_weights_choose_parts_or_path(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", str(tmp_path))
    options = {"dtype": "float32", "pretrained": parts_of(hub), "name": "mine"}
    pretrained = load_backbone("no/such-hub-name", starting_weights="pretrained", **options)
    assert [path.name[:6] for path in (tmp_path / "models").iterdir()] == ["llava-"]
    assert pretrained.name == "mine"
    for start in ("backbone", "instruction_tuned"):
        assert (
            load_backbone(hub / "whole", starting_weights=start, **options).image_token_id == pretrained.image_token_id
        )
    assert len(list((tmp_path / "models").iterdir())) == 1
    with pytest.raises(ConfigError, match=r"protocol\.starting_weights='scratch': backbone mine has no such weights"):
        load_backbone(hub / "whole", starting_weights="scratch", name="mine")


def zeros(file: Path) -> None:
    """Content gone, size kept: what a full disk or a broken one leaves."""
    file.write_bytes(bytes(file.stat().st_size))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "preprocessor_config.json"])
@pytest.mark.parametrize(
    "damage", [lambda file: file.write_bytes(b""), lambda file: file.unlink(), zeros], ids=["empty", "gone", "zeros"]
)
def test_a_damaged_cache_names_the_folder_to_remove_and_is_then_made_again(hub, monkeypatch, tmp_path, name, damage):
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", str(tmp_path))
    options = {"dtype": "float32", "pretrained": parts_of(hub), "starting_weights": "pretrained"}
    weights = load_backbone("no/such-hub-name", **options).model.state_dict()
    before = {key: tensor.clone() for key, tensor in weights.items()}
    del weights  # they lie in the file that is damaged now
    (folder,) = (tmp_path / "models").iterdir()
    if not (file := folder / name).exists():
        file = folder / "processor_config.json"
    damage(file)
    with pytest.raises(AssetError, match=r"(?i)remove the folder .*and run again") as refusal:
        load_backbone("no/such-hub-name", **options)
    assert str(folder) in str(refusal.value)
    shutil.rmtree(folder)
    after = load_backbone("no/such-hub-name", **options).model.state_dict()
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())


def test_without_weights_nothing_is_put_together(hub, monkeypatch, tmp_path, built):
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", str(tmp_path))
    empty = load_backbone("no/hub", starting_weights="pretrained", pretrained=parts_of(hub), weights=False)
    assert list(tmp_path.iterdir()) == []
    turns = [Turn("cat", "No", images=1)]
    real = load_backbone(built, dtype="float32")
    assert empty.tokens(empty.prompt.render(turns)) == real.tokens(real.prompt.render(turns))
    assert ((empty.family.feature_count(()), empty.family.width), empty.end_id) == (
        (real.family.feature_count(()), real.family.width),
        real.end_id,
    )
    assert all(parameter.is_meta for parameter in empty.parameters())


def test_other_files_are_another_checkpoint(hub, tmp_path):
    key = Parts(parts_of(hub)).key()
    assert Parts(parts_of(hub)).key() == key
    torch.save({"x": torch.ones(1)}, tmp_path / "other.bin")
    assert Parts(parts_of(hub, projector=tmp_path / "other.bin")).key() != key
    assert Parts(parts_of(hub, tokenizer=hub / "whole")).key() != key
    file = hub / "clip" / "preprocessor_config.json"
    before = file.stat()
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert Parts(parts_of(hub)).key() != key
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Parts(parts_of(hub)).key() == key


def test_a_part_that_is_not_named_is_asked_for():
    for part in ("language_model", "vision_tower", "projector"):
        named = {"language_model": "a", "vision_tower": "b", "projector": "c", part: None}
        with pytest.raises(ConfigError, match=rf"starting_weights=pretrained needs backbone\.pretrained\.{part}"):
            Parts(named)


def test_wrong_parts_are_refused_by_name(hub, tmp_path):
    def refused(message: str, **changed: str | Path) -> None:
        with pytest.raises(AssetError, match=message):
            pretrained_checkpoint(Parts(parts_of(hub, **changed)), tmp_path)
        assert list((tmp_path / "models").iterdir()) == []

    def spoilt(folder: Path, **changed: str | int) -> Path:
        copy = Path(shutil.copytree(folder, tmp_path / f"{folder.name}_{len(list(tmp_path.iterdir()))}"))
        settings = {**json.loads((copy / "config.json").read_text()), **changed}
        (copy / "config.json").write_text(json.dumps(settings))
        return copy

    refused(r"backbone\.pretrained\.vision_tower=.*preprocessor_config\.json is missing", vision_tower=hub / "vicuna")
    refused(r"model_type='llama', which is no CLIP; give a CLIP", vision_tower=spoilt(hub / "clip", model_type="llama"))
    refused(r"config\.json is of a LlavaConfig, not of a language model", language_model=hub / "whole")
    more = json.loads((hub / "vicuna" / "config.json").read_text())["num_hidden_layers"]
    refused(r"language_model=.*lacks 9 weights of a .*, e\.g\. model\.layers\.2",
            language_model=spoilt(hub / "vicuna", num_hidden_layers=more + 1))  # fmt: skip
    refused(r"language_model=.*holds 9 weights that config\.json has no place for, e\.g\. model\.layers\.1",
            language_model=spoilt(hub / "vicuna", num_hidden_layers=more - 1))  # fmt: skip
    refused(r"none\.bin: projector weights are missing", projector=tmp_path / "none.bin")
    torch.save({"linear_1.weight": torch.ones(2, 2)}, tmp_path / "odd.bin")
    with pytest.raises(AssetError, match=r"(?s)odd\.bin: projector weights do not fit the model"):
        load_backbone("no/hub", starting_weights="pretrained", weights=False,
                   pretrained=parts_of(hub, projector=tmp_path / "odd.bin"))  # fmt: skip
    refused(r"(?s)odd\.bin: projector weights do not fit the model:.*linear_2", projector=tmp_path / "odd.bin")
    (tmp_path / "empty").mkdir()
    refused(r"backbone\.pretrained\.\w+='.*empty' cannot be loaded", language_model=tmp_path / "empty")


def test_names_of_a_hub_are_known_by_their_revision(hub, monkeypatch):
    monkeypatch.setattr(starting_weights, "cached_file", lambda name, file: f"/cache/{name}/snapshots/abc/{file}")
    key = Parts(parts_of(hub, vision_tower="who/clip")).key()
    monkeypatch.setattr(starting_weights, "cached_file", lambda name, file: f"/cache/{name}/snapshots/def/{file}")
    assert Parts(parts_of(hub, vision_tower="who/clip")).key() != key


def test_a_name_that_no_hub_has_is_refused(hub, monkeypatch):
    def unknown(name, file):
        raise OSError(f"{name} is not a local folder and cannot be found\nmore")

    monkeypatch.setattr(starting_weights, "cached_file", unknown)
    with pytest.raises(AssetError, match=r"backbone\.pretrained\.vision_tower='no/such' is no folder and cannot be"):
        Parts(parts_of(hub, vision_tower="no/such")).key()


def test_weights_in_pytorchs_own_files_are_read_as_vicunas_are(hub, tmp_path, built):
    old = Path(shutil.copytree(hub / "vicuna", tmp_path / "vicuna"))
    torch.save(load_file(old / "model.safetensors"), old / "pytorch_model.bin")
    (old / "model.safetensors").unlink()
    model = Parts(parts_of(hub, language_model=old)).model(AutoTokenizer.from_pretrained(built))
    expected = load_backbone(built, dtype="float32").model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


class Hostile:
    def __reduce__(self):
        return (print, ("the pickle has run",))


def test_a_hostile_language_model_is_refused_and_not_run(hub, tmp_path, capsys):
    hostile = Path(shutil.copytree(hub / "vicuna", tmp_path / "vicuna"))
    (hostile / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Hostile()}, hostile / "pytorch_model.bin")
    with pytest.raises(AssetError, match=r"backbone\.pretrained\.language_model=.* cannot be loaded"):
        pretrained_checkpoint(Parts(parts_of(hub, language_model=hostile)), tmp_path)
    assert "has run" not in capsys.readouterr().out


def test_starts_by_name():
    check_start("backbone", "x")
    with pytest.raises(ConfigError, match=r"backbone x has no such weights; use backbone or pretrained$"):
        check_start("instruction_tuned", "x", ("backbone", "pretrained"))


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_new_vocabulary_rows_are_the_mean_of_the_old_ones(tied):
    config = LlamaConfig(
        vocab_size=70, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        tie_word_embeddings=tied,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    layers = (model.get_input_embeddings(), model.lm_head)
    old = [layer.weight.clone() for layer in layers]
    grow_vocabulary(model, 71)
    for layer, before in zip((model.get_input_embeddings(), model.lm_head), old, strict=True):
        assert layer.weight.shape == (128, 8)  # the next multiple of 64
        assert torch.equal(layer.weight[:70], before)
        assert torch.allclose(layer.weight[70:], before.mean(0).expand(58, 8))
    assert (model.lm_head.weight is model.get_input_embeddings().weight) is tied
    grow_vocabulary(model, 100)
    assert model.lm_head.weight.shape == (128, 8)
