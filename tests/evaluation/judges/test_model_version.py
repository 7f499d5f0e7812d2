"""Versions of models: a folder's fingerprint, a hub model's commit."""

import json
from pathlib import Path

import pytest

from coin_lightning.errors import JudgeError
from coin_lightning.evaluation.judges.model_version import EDGE, folder_fingerprint, model_version


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (path / "tokenizer.json").write_text("{}")
    (path / "model.safetensors").write_bytes(bytes(5 * EDGE))
    return path


def test_a_fingerprint_does_not_depend_on_the_place(folder: Path):
    before = model_version(str(folder))
    assert before.startswith("files ")
    assert len(before) == len("files ") + 16
    moved = folder.rename(folder.with_name("elsewhere"))
    assert folder_fingerprint(moved) == before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_any_change_of_a_small_file_shows(folder: Path, name: str):
    before = folder_fingerprint(folder)
    (folder / name).write_text('{"model_type": "qwen2"}')
    assert folder_fingerprint(folder) != before


@pytest.mark.parametrize("place", [0, EDGE - 1, 4 * EDGE, 5 * EDGE - 1])
def test_other_weights_show_at_both_ends(folder: Path, place: int):
    before = folder_fingerprint(folder)
    weights = bytearray(5 * EDGE)
    weights[place] = 1
    (folder / "model.safetensors").write_bytes(weights)
    assert folder_fingerprint(folder) != before


def test_more_or_fewer_files_show(folder: Path):
    before = folder_fingerprint(folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert folder_fingerprint(folder) != before
    (folder / "chat_template.jinja").unlink()
    (folder / "notes.md").write_text("not part of a model")
    assert folder_fingerprint(folder) == before


def test_a_folder_without_config_is_refused(tmp_path: Path):
    with pytest.raises(JudgeError, match=r"has no config\.json"):
        model_version(str(tmp_path))


@pytest.mark.parametrize("model", ["/no/such/model", "./model", "~/model", "some/where/model"])
def test_a_folder_that_is_missing_is_not_sought_on_the_hub(model: str):
    with pytest.raises(JudgeError, match="there is no such folder"):
        model_version(model)


def test_a_hub_name_that_is_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(JudgeError, match=r"judge\.model='no-such/model' is no folder, and no hub model"):
        model_version("no-such/model")


def test_the_commit_of_a_hub_model_is_its_version(monkeypatch: pytest.MonkeyPatch):
    class Config:
        _commit_hash = "0123abcd"

    asked: list[tuple[str, str]] = []

    def from_pretrained(name: str, revision: str, trust_remote_code: bool) -> Config:
        assert trust_remote_code is False
        asked.append((name, revision))
        return Config()

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", from_pretrained)
    assert model_version("some/model") == "0123abcd"
    assert model_version("some/model", "v2") == "0123abcd"
    assert asked == [("some/model", "main"), ("some/model", "v2")]
