"""Part by part, resumable, and never a folder that looks finished and is not."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[1]))

import published_qwen_vl as published

from coin_lightning.assets import file_sha256
from coin_lightning.backbones.conversion import streaming
from coin_lightning.backbones.conversion.qwen_vl import conversion
from coin_lightning.backbones.conversion.streaming import convert
from coin_lightning.backbones.families.qwen_vl import QwenVL
from coin_lightning.backbones.loading import load_backbone
from coin_lightning.cli.convert import main
from coin_lightning.errors import AssetError

SMALL = 400_000
"""Bytes of a part: the small model has some 5 MB."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return published.write(tmp_path / "src")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def test_in_many_parts_it_is_the_same_model(source: Path, tmp_path: Path):
    told: list[str] = []
    convert(conversion(source), tmp_path / "one", told.append)
    convert(conversion(source), tmp_path / "many", told.append, part_bytes=SMALL)
    one, many = weights(tmp_path / "one"), weights(tmp_path / "many")
    assert one.keys() == many.keys()
    assert all(torch.equal(one[name], many[name]) for name in one)
    files = sorted((tmp_path / "many").glob("*.safetensors"))
    largest = max(tensor.numel() * 4 for tensor in one.values())
    assert len(files) > 5
    assert all(file.stat().st_size < max(SMALL, largest) + 10_000 for file in files)
    assert load_backbone(tmp_path / "many", "qwen", QwenVL, dtype="float32").core.vision_tower is not None


def test_cut_off_it_goes_on_where_it_was_and_does_no_part_twice(source: Path, tmp_path: Path):
    out = tmp_path / "out"
    convert(conversion(source), tmp_path / "whole", lambda text: None, part_bytes=SMALL)

    def killed(text: str) -> None:
        if "part 3" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(conversion(source), out, killed, part_bytes=SMALL)
    assert not (out / "config.json").exists()
    with pytest.raises(AssetError, match=r"config\.json"):
        load_backbone(out, "qwen", QwenVL)
    done = {file: file.stat().st_mtime_ns for file in out.glob("*.safetensors")}
    assert len(done) == 3
    convert(conversion(source), out, lambda text: None, part_bytes=SMALL)
    assert {file: file.stat().st_mtime_ns for file in done} == done
    for file in (tmp_path / "whole").iterdir():
        assert (out / file.name).read_bytes() == file.read_bytes()
    told: list[str] = []
    convert(conversion(source), out, told.append, part_bytes=SMALL)
    assert told == [f"{out}: is converted already"]


def test_the_manifest_has_the_hashes_of_what_was_read(source: Path, tmp_path: Path):
    convert(conversion(source), tmp_path / "out", lambda text: None)
    manifest = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert manifest["finished"] is True
    assert {name: each["sha256"] for name, each in manifest["sources"].items()} == {
        f"src/{file.name}": file_sha256(file) for file in source.glob("*.bin")
    }


def test_other_sources_or_another_folder_are_not_mixed(source: Path, tmp_path: Path):
    out = tmp_path / "out"
    convert(conversion(source), out, lambda text: None)
    other = published.write(tmp_path / "other" / "src", published.state(seed=1))
    with pytest.raises(AssetError, match="was begun from other files than are there now; remove the folder"):
        convert(conversion(other), out, lambda text: None)
    with pytest.raises(AssetError, match="holds another conversion"):
        convert(conversion(source), out, lambda text: None, part_bytes=SMALL)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(AssetError, match="is not empty and holds no conversion"):
        convert(conversion(source), tmp_path / "full", lambda text: None)
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_a_disk_without_room_is_told_before_anything_is_read(source: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(streaming.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1_000_000}))
    with pytest.raises(AssetError, match=r"0\.0 GB are needed there, 0\.0 GB are free; make room"):
        convert(conversion(source), tmp_path / "out", lambda text: None)
    assert not list((tmp_path / "out").glob("*.safetensors"))


def half(folder: Path) -> None:
    file = folder / "pytorch_model-00002-of-00002.bin"
    file.write_bytes(file.read_bytes()[:-5000])


def pointer(folder: Path) -> None:
    (folder / "pytorch_model-00002-of-00002.bin").write_text("version https://git-lfs.github.com/spec/v1\n")


def no_index(folder: Path) -> None:
    (folder / "pytorch_model.bin.index.json").unlink()


def other_total(folder: Path) -> None:
    file = folder / "pytorch_model.bin.index.json"
    file.write_text(file.read_text().replace('"total_size": ', '"total_size": 9'))


def hostile(folder: Path) -> None:
    torch.save({"x": Path("/")}, folder / "pytorch_model-00001-of-00002.bin")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (half, "pytorch_model-00002-of-00002.bin: weights cannot be read"),
        (pointer, "it is a pointer of Git LFS"),
        (no_index, "no pytorch_model.bin.index.json that says what belongs to it"),
        (other_total, r"its weights take \d+ bytes, but pytorch_model.bin.index.json says 9"),
        (hostile, "pytorch_model-00001-of-00002.bin: weights cannot be read: Weights only load failed"),
        (lambda folder: (folder / "pytorch_model-00001-of-00002.bin").unlink(), "00001-of-00002.bin: file is missing"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "qwen.tiktoken").write_text("IQ== 0\n"), "qwen.tiktoken: its ranks have gaps"),
        (lambda folder: (folder / "qwen.tiktoken").write_text("<html>"), "qwen.tiktoken: must hold a token in base64"),
    ],
    ids=["half a file", "pointer", "no index", "sizes", "pickle", "missing file", "no config", "ranks", "web page"],
)  # fmt: skip
def test_a_half_finished_download_is_refused(source: Path, tmp_path: Path, capsys, damage, message):
    damage(source)
    assert main(["qwen_vl", str(source), str(tmp_path / "out")]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_safetensors_and_the_old_pytorch_format_are_read_as_well(source: Path, tmp_path: Path):
    convert(conversion(source), tmp_path / "bin", lambda text: None)
    for file in source.glob("pytorch_model*"):
        file.unlink()
    save_file(published.state(), source / "model.safetensors")
    convert(conversion(source), tmp_path / "safe", lambda text: None)
    (source / "model.safetensors").unlink()
    torch.save(published.state(), source / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    convert(conversion(source), tmp_path / "old", lambda text: None)
    expected = weights(tmp_path / "bin")
    for kind in ("safe", "old"):
        found = weights(tmp_path / kind)
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_an_option_of_the_other_model_and_a_missing_folder_are_refused(source: Path, tmp_path: Path, capsys):
    assert main(["qwen_vl", str(source), str(tmp_path / "out"), "--lora", "merged"]) == 1
    assert "--lora: is of MiniGPT-v2 only" in capsys.readouterr().err
    assert main(["qwen_vl", str(tmp_path / "no"), str(tmp_path / "out")]) == 1
    assert "is no folder; give the folder with the published files" in capsys.readouterr().err
