import pickle

import pytest
import torch
from safetensors.torch import save_file

from coin_lightning.backbones import tiny
from coin_lightning.backbones.projectors import load_projector, read_projector
from coin_lightning.errors import AssetError

SHAPES = {"linear_1.weight": (32, 16), "linear_1.bias": (32,), "linear_2.weight": (32, 32), "linear_2.bias": (32,)}
PUBLISHED = {"linear_1.": "model.mm_projector.0.", "linear_2.": "model.mm_projector.2."}


def weights() -> dict[str, torch.Tensor]:
    return {name: torch.randn(shape) for name, shape in SHAPES.items()}


def published(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Under the names of LLaVA's own file."""
    return {PUBLISHED[name[:9]] + name[9:]: tensor for name, tensor in found.items()}


@pytest.mark.parametrize("rename", [dict, published], ids=["transformers' names", "LLaVA's names"])
@pytest.mark.parametrize("suffix", ["safetensors", "bin", "pth", "pt"])
def test_both_kinds_of_files_and_names(tmp_path, rename, suffix):
    expected, file = weights(), tmp_path / f"projector.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(rename(expected), file)
    found = read_projector(file)
    assert set(found) == set(SHAPES)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    model = tiny.load().model
    load_projector(model, file)
    assert torch.equal(model.model.multi_modal_projector.linear_2.weight, expected["linear_2.weight"])


def test_a_name_without_the_leading_model_is_understood(tmp_path):
    torch.save({"mm_projector.0.bias": torch.ones(2)}, tmp_path / "a.bin")
    assert list(read_projector(tmp_path / "a.bin")) == ["linear_1.bias"]


class Hostile:
    def __reduce__(self):
        return (print, ("the pickle has run",))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, capsys, legacy):
    file = tmp_path / "mm_projector.bin"
    if legacy:
        file.write_bytes(pickle.dumps(Hostile()))
    else:
        torch.save({"linear_1.weight": Hostile()}, file)
    with pytest.raises(AssetError, match=r"mm_projector\.bin: projector weights cannot be read"):
        read_projector(file)
    assert "has run" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x80"])
def test_a_broken_file_is_refused(tmp_path, content):
    for name in ("a.bin", "a.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AssetError, match=f"{name}: projector weights cannot be read"):
            read_projector(tmp_path / name)


@pytest.mark.parametrize("name", ["mm_projector.bin", "a.pth", "a.safetensors"])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\n<!DOCTYPE html><html>404</html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "it is a pointer of Git LFS"),
        (b"", "it is empty"),
    ],
    ids=["page", "pointer", "empty"],
)
def test_what_is_no_projector_is_refused_with_what_it_is(tmp_path, name, content, what):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(AssetError) as refusal:
        read_projector(file)
    assert f"{file}: projector weights cannot be read: {what}" in str(refusal.value)
    assert "fetch the file again: safetensors, or a PyTorch file as LLaVA's mm_projector.bin" in str(refusal.value)


def test_a_file_is_known_by_its_content_whatever_its_name(tmp_path):
    expected = weights()
    save_file(expected, tmp_path / "a.bin")
    torch.save(expected, tmp_path / "b.safetensors")
    for name in ("a.bin", "b.safetensors"):
        assert all(torch.equal(read_projector(tmp_path / name)[key], tensor) for key, tensor in expected.items())


def test_anything_but_named_tensors_is_refused(tmp_path):
    torch.save([torch.ones(1)], tmp_path / "a.bin")
    with pytest.raises(AssetError, match="must hold named tensors, found list"):
        read_projector(tmp_path / "a.bin")
    with pytest.raises(AssetError, match=r"none\.bin: projector weights are missing"):
        read_projector(tmp_path / "none.bin")


def test_other_shapes_are_refused(tmp_path):
    save_file({**weights(), "linear_1.weight": torch.ones(32, 24)}, tmp_path / "a.safetensors")
    with pytest.raises(AssetError, match=r"(?s)do not fit the model:.*linear_1\.weight"):
        load_projector(tiny.load().model, tmp_path / "a.safetensors")
