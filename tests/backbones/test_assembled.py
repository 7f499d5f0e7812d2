import hashlib
import json

import pytest

from coin_lightning.backbones.assembled import MARKER, assembled, list_files
from coin_lightning.errors import AssetError


def write(folder):
    folder.mkdir()
    (folder / "weights").write_bytes(b"1234")
    list_files(folder)


def never(folder):
    raise AssertionError("assembled a second time")


def test_it_is_put_together_once_and_listed(tmp_path):
    place = tmp_path / "models" / "a"
    assert assembled(place, write) == place
    sha256 = hashlib.sha256((place / "weights").read_bytes()).hexdigest()
    assert json.loads((place / MARKER).read_text()) == {"weights": sha256}
    assert assembled(place, never) == place
    assert [path.name for path in place.parent.iterdir()] == ["a"]  # no scratch folder is left


def test_a_failure_leaves_nothing_behind(tmp_path):
    def fail(folder):
        folder.mkdir()
        raise AssetError("no part")

    with pytest.raises(AssetError, match="no part"):
        assembled(tmp_path / "models" / "a", fail)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_quicker_process_wins(tmp_path):
    place = tmp_path / "a"

    def race(folder):
        write(folder)
        write(place)
        (place / "first").touch()

    assert assembled(place, race) == place
    assert (place / "first").exists()


@pytest.mark.parametrize("spoiled", ["weights", MARKER])
def test_damage_is_told_with_the_remedy(tmp_path, spoiled):
    place = assembled(tmp_path / "a", write)
    (place / spoiled).write_bytes(b"1")
    with pytest.raises(AssetError, match=r"assembled model is damaged \(.*\); remove the folder and run again"):
        assembled(place, never)
