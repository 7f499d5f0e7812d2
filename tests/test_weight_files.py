import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from coin_lightning.errors import AssetError, RunError
from coin_lightning.weight_files import TORCH, foreign, read_safetensors, write_safetensors


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty"),
        (b" \n\t", "it is empty"),
        (b"\n <?xml version='1.0'?><Error/>", "it is a web page (HTML or XML), not the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "it is a pointer of Git LFS, not the file itself"),
        (b"\x80\x02}q\x00", "it is a pickle (an old PyTorch file), not safetensors"),
    ],
)
def test_first_bytes_tell_what_a_file_is(tmp_path, content, what):
    (tmp_path / "a.safetensors").write_bytes(content)
    assert foreign(tmp_path / "a.safetensors").startswith(what)
    with pytest.raises(RunError) as refusal:
        read_safetensors(tmp_path / "a.safetensors", "adapter", "do this", RunError)
    message = str(refusal.value)
    assert message.startswith(f"{tmp_path / 'a.safetensors'}: adapter cannot be read: {what}")
    assert message.endswith("; do this")


def test_what_pytorch_writes_is_known_and_welcome_where_it_is_read(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "a.bin")
    assert foreign(tmp_path / "a.bin") == "it is a PyTorch file (zip), not safetensors"
    assert foreign(tmp_path / "a.bin", TORCH) is None


def test_a_whole_file_is_read_and_a_cut_or_missing_one_refused(tmp_path):
    file = tmp_path / "a.safetensors"
    save_file({"a": torch.arange(3)}, file)
    assert foreign(file) is None
    assert read_safetensors(file, "a", "b", AssetError)["a"].tolist() == [0, 1, 2]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(AssetError, match=r"a\.safetensors: it cannot be read: .*; fetch it$"):
        read_safetensors(file, "it", "fetch it", AssetError)
    file.unlink()
    with pytest.raises(AssetError, match=r"a\.safetensors: it cannot be read: No such file.*; fetch it$"):
        read_safetensors(file, "it", "fetch it", AssetError)


@pytest.mark.parametrize(("mask", "rights"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)], ids=oct)
def test_weights_may_be_read_by_whom_any_new_file_may(tmp_path, mask, rights):
    before = os.umask(mask)
    try:
        write_safetensors({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == rights
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
