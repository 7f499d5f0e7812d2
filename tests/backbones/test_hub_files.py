import json
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from coin_lightning.backbones import tiny
from coin_lightning.backbones.hub_files import read_pretrained, read_processor, read_tokenizer
from coin_lightning.errors import AssetError


class Loader:
    """Stands for a class of transformers and remembers how it was called."""

    error: Exception | None = None

    @classmethod
    def from_pretrained(cls, source: str, **options):
        if cls.error:
            raise cls.error
        return source, options


def test_a_folder_is_read_without_the_hub_and_never_runs_code(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    asked = read_pretrained(Loader, str(tmp_path), dtype="auto")
    assert asked == (str(tmp_path), {"trust_remote_code": False, "local_files_only": True, "dtype": "auto"})
    assert read_pretrained(Loader, "who/what")[1] == {"trust_remote_code": False, "local_files_only": False}


def test_a_folder_without_config_is_refused_with_key_and_remedy(tmp_path):
    with pytest.raises(AssetError, match=r"backbone\.x='.*' cannot be loaded by AutoConfig: config\.json is missing"):
        read_pretrained(AutoConfig, str(tmp_path), key="backbone.x")
    with pytest.raises(AssetError, match=r"(?s)backbone\.path=.*\nGive a folder with a checkpoint"):
        read_pretrained(AutoTokenizer, str(tmp_path))


@pytest.mark.parametrize("error", [OSError("gone\nmore"), ValueError(), ImportError("needs a package")])
def test_what_a_loader_raises_becomes_one_line(error, monkeypatch):
    monkeypatch.setattr(Loader, "error", error)
    with pytest.raises(AssetError) as refusal:
        read_pretrained(Loader, "who/what", remedy="Do this.")
    reason = str(error).splitlines()[0] if str(error) else "ValueError"
    assert str(refusal.value) == f"backbone.path='who/what' cannot be loaded by Loader: {reason}\nDo this."


def with_templates(folder: Path, **templates: str) -> Path:
    """A tokenizer's folder; the templates by file: `json`, `jinja`, `processor`, and `tokenizer` for its own config."""
    tiny.byte_tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llava"}))
    own = json.loads((folder / "tokenizer_config.json").read_text())
    for kind, text in templates.items():
        if kind == "jinja":
            (folder / "chat_template.jinja").write_text(text)
        else:
            name = {"json": "chat_template", "processor": "processor_config", "tokenizer": "tokenizer_config"}[kind]
            found = own if kind == "tokenizer" else {"processor_class": "LlavaProcessor"}
            (folder / f"{name}.json").write_text(json.dumps({**found, "chat_template": text}))
    return folder


@pytest.mark.parametrize(
    ("kinds", "chosen"),
    [
        ([], None),
        (["tokenizer"], "tokenizer"),
        (["tokenizer", "json"], "json"),
        (["json"], "json"),
        (["tokenizer", "json", "processor"], "processor"),
        (["tokenizer", "json", "processor", "jinja"], "jinja"),
    ],
    ids=str,
)
def test_the_chat_template_is_that_of_the_whole_model(tmp_path, kinds, chosen):
    folder = with_templates(tmp_path, **{kind: kind for kind in kinds})
    assert read_tokenizer(str(folder)).chat_template == chosen


def test_a_processors_config_without_a_template_hides_none(tmp_path):
    folder = with_templates(tmp_path, json="json", tokenizer="tokenizer")
    (folder / "processor_config.json").write_text("{}")
    assert read_tokenizer(str(folder)).chat_template == "json"


@pytest.mark.parametrize("kinds", [["tokenizer", "json"], ["tokenizer"]], ids=str)
def test_the_chat_template_comes_from_the_hubs_cache_too_without_a_network(tmp_path, monkeypatch, kinds):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--who--what"
    with_templates(repository / "snapshots" / ("0" * 40), **{kind: kind for kind in kinds})
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    assert read_tokenizer("who/what").chat_template == kinds[-1]


@pytest.mark.parametrize("text", ["{", "[]", "<html></html>"])
def test_a_damaged_template_file_is_named(tmp_path, text):
    folder = with_templates(tmp_path)
    (folder / "chat_template.json").write_text(text)
    with pytest.raises(AssetError, match=r"cannot be loaded by AutoProcessor: .*chat_template\.json"):
        read_tokenizer(str(folder))


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 42},
        {"size": {"shortest_edge": 42}, "crop_size": {"height": 42, "width": 42}},
        {"crop_size": 42, "image_mean": [0.1, 0.2, 0.3], "resample": 2},
        {"crop_size": [28, 42], "do_center_crop": False, "rescale_factor": 0.5},
    ],
    ids=str,
)
def test_settings_of_an_image_processor_in_every_form_they_may_have(tmp_path, settings):
    CLIPImageProcessorPil(size=28, crop_size=28).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    before, after = (read_processor(str(tmp_path), each).to_dict() for each in ({}, settings))
    assert {key for key in before if before[key] != after[key]} == set(settings)
