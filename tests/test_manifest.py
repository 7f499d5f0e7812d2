"""`manifest.json`: what a folder's files must hold."""

import hashlib
import json
from pathlib import Path

import pytest

from coin_lightning.assets import file_sha256
from coin_lightning.errors import DataError, RunError
from coin_lightning.manifest import MARK, announce, check, check_mark, missing, record, write_known_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "w").write_bytes(b"weights")
    record(tmp_path, [tmp_path / "adapter" / "w"])
    return tmp_path


def test_it_holds_the_sha256_of_the_bytes(folder: Path):
    known = json.loads((folder / "manifest.json").read_text())["sha256"]
    assert known == {"adapter/w": [hashlib.sha256(b"weights").hexdigest()]}
    assert file_sha256(folder / "adapter" / "w") == known["adapter/w"][0]


def test_a_changed_file_is_told_with_the_remedy_and_in_the_class_that_is_asked_for(folder: Path):
    file = folder / "adapter" / "w"
    check(file, None, "restore it")
    check(file, b"weights", "restore it")
    with pytest.raises(DataError, match=r"adapter/w: is not what was written .*; restore it"):
        check(file, b"weighus", "restore it", DataError)
    file.write_bytes(b"")
    with pytest.raises(RunError, match="is not what was written"):
        check(file, None, "restore it")


def test_files_that_no_manifest_names_are_not_looked_at(folder: Path, tmp_path: Path):
    check(folder / "other", None, "")
    check(tmp_path / "nowhere" / "w", None, "")


def test_a_kill_between_the_announcement_and_the_writing_leaves_a_sound_file(tmp_path: Path):
    file = tmp_path / "scores.json"
    for content in ({"a": 1}, {"a": 2}):
        write_known_json(file, content)
        check(file, None, "")
    announce(tmp_path, "scores.json", hashlib.sha256(b"third").hexdigest())
    check(file, None, "")  # killed here, the second still counts
    file.write_bytes(b"third")
    check(file, None, "")
    write_known_json(file, {"a": 4})
    check(file, None, "")
    file.write_text(json.dumps({"a": 1}, indent=1) + "\n")
    with pytest.raises(RunError):  # but not the first
        check(file, None, "")


def test_two_kills_in_a_row_leave_a_sound_file_too(tmp_path: Path):
    file = tmp_path / "scores.json"
    write_known_json(file, {"a": 1})
    for other in ("second", "third", "fourth"):
        announce(tmp_path, "scores.json", hashlib.sha256(other.encode()).hexdigest())
        check(file, None, "")


def test_an_altered_file_does_not_become_right_by_the_next_announcement(tmp_path: Path):
    file = tmp_path / "scores.json"
    write_known_json(file, {"a": 1})
    file.write_text("altered")
    announce(tmp_path, "scores.json", hashlib.sha256(b"second").hexdigest())
    with pytest.raises(RunError):
        check(file, None, "")


def test_files_in_folders_below_and_manifests_of_others(tmp_path: Path):
    deep = tmp_path / "adapter" / "second" / "w"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"weights")
    record(tmp_path, [deep])
    (tmp_path / "adapter" / "manifest.json").write_text('{"name": "of a web page"}')
    check(deep, None, "")
    deep.write_bytes(b"weighus")
    with pytest.raises(RunError, match="adapter/second/w: is not what was written"):
        check(deep, None, "")


def test_what_is_gone_is_known(folder: Path):
    assert missing(folder, ["adapter"]) == []
    (folder / "adapter" / "w").unlink()
    assert missing(folder, ["adapter"]) == ["adapter/w"]
    assert missing(folder, ["records"]) == []


def test_a_lost_manifest_is_missed(folder: Path):
    check_mark(folder / "train.json", {**MARK, "steps": 3})
    (folder / "manifest.json").unlink()
    check_mark(folder / "train.json", {"steps": 3})  # of a run from before there were manifests
    with pytest.raises(RunError, match=r"manifest.json: is missing, so nobody knows whether"):
        check_mark(folder / "train.json", {**MARK, "steps": 3})


@pytest.mark.parametrize("content", ["", "[]", '{"sha256": {"adapter/w": "abc"}}', "\xff"])
def test_a_broken_manifest_is_told(folder: Path, content: str):
    (folder / "manifest.json").write_text(content, encoding="latin-1")
    with pytest.raises(RunError, match=r"manifest.json: cannot be read .* restore it, or remove the folder"):
        check(folder / "adapter" / "w", None, "")
