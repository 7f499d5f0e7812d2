"""Samples are read once per file: later starts map a table, and nothing that happens to its folder changes them."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coin_lightning.errors import DataError
from coin_lightning.tasks import sample_table, sources
from coin_lightning.tasks.samples import LEARN, read_test, read_train
from coin_lightning.tasks.sources import JsonFile


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.jpg").write_bytes(b"image")
    talk = [{"from": "human", "value": "<image>\nWo ist ü😀?"}, {"from": "gpt", "value": "da"}]
    samples = [{"id": at, "image": "a.jpg", "conversations": talk, "weight": 1} for at in range(25)]
    (tmp_path / "train.json").write_text(json.dumps(samples, ensure_ascii=False), encoding="utf-8")
    return tmp_path / "train.json"


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that are really parsed."""
    seen: list[Path] = []
    real = sources.read_samples
    monkeypatch.setattr(sources, "read_samples", lambda file: seen.append(file) or real(file))
    return seen


def read(file: Path, cache: Path | None = None):
    return read_train(file, file.parent, cache=cache)


def kept(cache: Path) -> list[Path]:
    return sorted((cache / "samples").glob("*"))


def test_a_later_start_reads_the_table_and_says_the_same(file, tmp_path, parsed):
    plain = read(file)
    first, later = read(file, tmp_path / "f"), read(file, tmp_path / "f")
    assert list(plain) == list(first) == list(later)
    assert plain.unread() == first.unread() == later.unread() == {"weight": 25}
    assert len(parsed) == 2  # without a cache, and once
    assert len(kept(tmp_path / "f")) == 1


def test_many_batches_are_one_table(file, tmp_path, monkeypatch):
    whole = list(read(file))
    monkeypatch.setattr(sample_table, "TOGETHER", 7)
    assert list(read(file)) == list(read(file, tmp_path / "f")) == list(read(file, tmp_path / "f")) == whole


def test_another_content_or_kind_is_another_table(file, tmp_path, parsed):
    read(file, tmp_path / "f")
    file.write_text(file.read_text().replace("da", "dort"))
    assert read(file, tmp_path / "f")[3].turns[0].answer == "dort"
    with pytest.raises(DataError, match="holds training conversations"):
        read_test(file, file.parent, cache=tmp_path / "f")
    assert (len(parsed), len(kept(tmp_path / "f"))) == (3, 2)


def test_images_are_looked_for_at_every_start(file, tmp_path):
    read(file, tmp_path / "f")
    (file.parent / "a.jpg").unlink()
    with pytest.raises(DataError) as refusal:
        read(file, tmp_path / "f")
    assert len(refusal.value.problems) == 25
    assert (
        refusal.value.problems[3]
        == f"{file} sample 3: image {file.parent / 'a.jpg'} is missing; restore it or remove the sample"
    )


def test_a_file_with_problems_is_not_kept(file, tmp_path, parsed):
    file.write_text(file.read_text().replace('"gpt"', '"bot"', 1))
    for _ in range(2):
        with pytest.raises(DataError, match="sample 0: field 'conversations' has speakers 'bot'"):
            read(file, tmp_path / "f")
    assert (len(parsed), kept(tmp_path / "f")) == (2, [])


def test_repeated_ids_are_found_in_a_kept_table(file, tmp_path):
    file.write_text(file.read_text().replace('"id": 24', '"id": 3'))
    assert len(read_train(file, file.parent, repeated_ids="allow", cache=tmp_path / "f")) == 25
    with pytest.raises(DataError, match="sample 24: id '3' is already used by sample 3"):
        read(file, tmp_path / "f")


@pytest.mark.parametrize("damage", [b"", b"ARROW1", b"no table"])
def test_a_damaged_table_is_made_anew(file, tmp_path, damage):
    whole = list(read(file, tmp_path / "f"))
    kept(tmp_path / "f")[0].write_bytes(damage)
    with pytest.warns(UserWarning, match=r"\.arrow: cannot be read .* is made anew"):
        assert list(read(file, tmp_path / "f")) == whole
    assert list(read(file, tmp_path / "f")) == whole


def test_a_place_where_nothing_can_be_written_costs_only_time(file, tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "samples").write_text("a file")
    with pytest.warns(UserWarning, match="samples cannot be kept here .* every start reads .*train.json again"):
        assert len(read(file, tmp_path / "f")) == 25


def test_a_kept_table_in_a_folder_that_is_only_read_is_used(file, tmp_path, parsed):
    whole = list(read(file, tmp_path / "f"))
    kept(tmp_path / "f")[0].chmod(0o400)
    (tmp_path / "f" / "samples").chmod(0o500)
    assert list(read(file, tmp_path / "f")) == whole
    (tmp_path / "f" / "samples").chmod(0o700)
    assert len(parsed) == 1


def _read_in_child(file: Path, cache: Path, out: "multiprocessing.Queue[list[str]]") -> None:
    out.put([sample.id for sample in read(file, cache)])


def test_processes_that_start_at_once_leave_one_whole_table(file, tmp_path):
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    children = [context.Process(target=_read_in_child, args=(file, tmp_path / "f", out)) for _ in range(4)]
    for child in children:
        child.start()
    found = [out.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert found == [read(file).ids] * 4
    assert len(kept(tmp_path / "f")) == 1


def test_a_table_outlives_its_file_being_replaced_or_removed(file, tmp_path):
    samples = read(file, tmp_path / "f")
    whole = list(read(file))
    file.write_text("[]")
    os.unlink(kept(tmp_path / "f")[0])
    assert list(samples) == whole


def test_a_file_that_changes_while_it_is_read_is_not_kept(file, tmp_path):
    raw = JsonFile(file)
    assert raw.key() == raw.sha256
    file.write_text(file.read_text().replace("da", "dort"))
    with pytest.raises(DataError, match=r"train\.json: was changed while it was read; give the same command again"):
        sample_table.sample_table(raw, LEARN, tmp_path / "f")
    assert kept(tmp_path / "f") == []


def test_a_table_of_another_process_is_read(file, tmp_path, parsed):
    program = (
        "import sys; from pathlib import Path; from coin_lightning.tasks.samples import read_train\n"
        "file, cache = map(Path, sys.argv[1:]); print(len(read_train(file, file.parent, cache=cache)))"
    )
    subprocess.run([sys.executable, "-c", program, str(file), str(tmp_path / "f")], check=True, capture_output=True)
    assert len(read(file, tmp_path / "f")) == 25
    assert parsed == []
