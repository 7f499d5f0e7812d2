"""`data build` as a user types it."""

import json
from pathlib import Path

import pytest

from coin_lightning.benchmarks.coin.suite import RAW_TASKS
from coin_lightning.cli.data_build import help_text, main


@pytest.fixture
def raw(tmp_path) -> Path:
    """Raw folders of GQA and, with a broken file, OCR-VQA."""
    gqa, ocr = tmp_path / "raw" / "GQA", tmp_path / "raw" / "OCR-VQA"
    for folder in (gqa, ocr):
        (folder / "images").mkdir(parents=True)
    (gqa / "images" / "7.jpg").touch()
    question = {"question": "Is it day?", "imageId": "7", "answer": "yes"}
    for name in ("train", "testdev"):
        (gqa / f"{name}_balanced_questions.json").write_text(json.dumps({f"{name}1": question}))
    (ocr / "dataset.json").write_text('{"1": {"split": 1, "questions": [')
    return tmp_path / "raw"


def test_one_task(raw, tmp_path, capsys):
    command = ["task=gqa", f"raw={raw / 'GQA'}", f"out={tmp_path / 'out'}", "types=[original]"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert [line.split("│")[1:4] for line in printed.splitlines() if "│ GQA" in line] == [
        [" GQA  ", " train ", "       1 "], [" GQA  ", " test  ", "       1 "],
    ]  # fmt: skip
    assert (tmp_path / "out" / "Instructions_Original" / "GQA" / "train.json").is_file()
    assert not (tmp_path / "out" / "Instructions_Diverse").exists()
    assert main(command) == 0
    assert capsys.readouterr().out.count("was there") == 2


def test_a_broken_task_does_not_keep_the_others_from_being_built(raw, tmp_path, capsys):
    assert main(["task=all", f"raw={raw}", f"out={tmp_path / 'out'}", "hint=llava"]) == 1
    printed, errors = capsys.readouterr()
    assert "│ GQA" in printed
    assert "VQAv2: no folder VQAv2 or vqav2 or VQA there, so it is not built" in printed
    assert "dataset.json: malformed JSON" in errors
    assert errors.startswith("error: ")


def test_skipped_records_are_pointed_at(raw, tmp_path, capsys):
    (raw / "GQA" / "train_balanced_questions.json").write_text(
        json.dumps({"1": {"question": "Q?", "imageId": "7", "answer": "a"}, "2": {"question": "R?"}})
    )
    assert main(["task=gqa", f"raw={raw / 'GQA'}", f"out={tmp_path / 'out'}"]) == 1
    assert "question 2: needs texts imageId" in capsys.readouterr().err
    assert main(["task=gqa", f"raw={raw / 'GQA'}", f"out={tmp_path / 'out'}", "skip=true"]) == 0
    assert "skipped records are listed in" in capsys.readouterr().out
    listed = json.loads((tmp_path / "out" / "build" / "GQA" / "skipped.json").read_text())
    assert listed["train"]["count"] == 1


def test_mistakes_are_one_line_and_status_one(capsys):
    assert main(["task=gqa", "raw=/no/where", "out=x"]) == 1
    assert capsys.readouterr().err == "error: raw=/no/where: there is no such folder\n"


def test_help_names_every_task_its_layout_and_its_keys(capsys):
    assert main(["--help"]) == 0
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert printed == 2 * f"{help_text()}\n"
    for task in RAW_TASKS.values():
        assert f"  {task.key}  (" in printed
        assert task.layout in printed
    assert "own keys: ocr" in printed
    assert "seed" not in [key for line in printed.splitlines() if "own keys" in line for key in line.split()]
