"""A file is the old one or the new one."""

import json
import os
import stat

import pytest

from coin_lightning.whole_files import replacing, write_json, write_text


def test_folders_are_made_and_nothing_else_is_left(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"x": [1, None]})
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"x": [1, None]}
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["b.json"]


def test_until_the_end_the_old_file_stands(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "old")
    with replacing(file) as stream:
        stream.write("new")
        stream.flush()
        assert file.read_text() == "old"
    assert file.read_text() == "new"


def test_a_failure_leaves_the_old_file_and_no_scratch(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, 1)
    with pytest.raises(ValueError):
        write_json(file, float("nan"))

    def fail():
        with replacing(file) as stream:
            stream.write("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert file.read_text() == "1\n"
    assert os.listdir(tmp_path) == ["a.json"]


def test_text_is_utf8_with_plain_line_ends(tmp_path):
    write_text(tmp_path / "a", "ä\n\ud800")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa4\n\\ud800"


def test_the_content_is_on_the_disk_before_it_has_the_name_and_then_the_name(tmp_path, monkeypatch):
    done, replace = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append("replaced"), replace(old, new)))
    write_text(tmp_path / "a", "whole")
    assert done == [False, "replaced", True]
