"""Where a task's files lie, in either spelling of the instruction folder."""

from pathlib import Path

import pytest

from coin_lightning.errors import DataError
from coin_lightning.tasks.sources import JsonSource, spelt, task_folder


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name / "GQA").mkdir(parents=True)


@pytest.mark.parametrize("there", ["Instructions_Diverse", "Instruction_Diverse"])
@pytest.mark.parametrize("asked", ["Instructions_Diverse", "Instruction_Diverse"])
def test_both_spellings_are_found(tmp_path, there, asked):
    make(tmp_path, there)
    assert task_folder(tmp_path, asked, "GQA") == tmp_path / there / "GQA"
    source = JsonSource(tmp_path)
    assert source.file("GQA", asked, "train") == tmp_path / there / "GQA" / "train.json"
    assert source.samples("GQA", asked, "train").file == tmp_path / there / "GQA" / "train.json"


def test_neither_is_an_error_that_names_both(tmp_path):
    with pytest.raises(DataError) as refusal:
        JsonSource(tmp_path).samples("GQA", "Instruction_10Type", "test")
    assert (
        f"{tmp_path}/Instruction_10Type/GQA: folder is missing, and so is {tmp_path}/Instructions_10Type/GQA;"
        in str(refusal.value)
    )
    assert JsonSource(tmp_path).file("GQA", "Instruction_10Type", "test") == (
        tmp_path / "Instruction_10Type" / "GQA" / "test.json"
    )


def test_both_are_an_error_unless_they_are_the_same(tmp_path):
    make(tmp_path, "Instructions_Original", "Instruction_Original")
    with pytest.raises(DataError, match=r"Instructions_Original/GQA and .*Instruction_Original/GQA are both there"):
        task_folder(tmp_path, "Instructions_Original", "GQA")
    (tmp_path / "Instruction_Diverse").symlink_to(tmp_path / "Instructions_Diverse")
    make(tmp_path, "Instructions_Diverse")
    assert task_folder(tmp_path, "Instructions_Diverse", "GQA") == tmp_path / "Instructions_Diverse" / "GQA"


def test_a_task_in_one_of_two_folders_is_clear(tmp_path):
    make(tmp_path, "Instructions_Original")
    (tmp_path / "Instruction_Original").mkdir()
    assert task_folder(tmp_path, "Instruction_Original", "GQA") == tmp_path / "Instructions_Original" / "GQA"


def test_other_names_have_one_spelling(tmp_path):
    assert spelt(tmp_path, "Mine", "GQA") == [tmp_path / "Mine" / "GQA"]
    with pytest.raises(
        DataError, match=r"Mine/GQA: folder is missing; check the data folder \(data\.root, paths\.coin"
    ):
        task_folder(tmp_path, "Mine", "GQA")
