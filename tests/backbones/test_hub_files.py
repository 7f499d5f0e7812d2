import pytest
from transformers import AutoConfig, AutoTokenizer

from coin_lightning.backbones.hub_files import read_pretrained
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
