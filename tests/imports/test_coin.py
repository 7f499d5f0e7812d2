"""A tree of results read whole: order, missing cells, ground truth that is not there, and what is refused."""

from pathlib import Path

import pytest

from coin_lightning.errors import ConfigError, DataError
from coin_lightning.imports.coin import read_results
from coin_results import numbered, write_answers, write_printed, write_results
from small_coin import write_suite


def test_without_ground_truth_answers_are_named_and_not_scored(tmp_path: Path):
    found = read_results(write_results(tmp_path), order="textvqa,imagenet,gqa")
    _, lora = found.runs
    assert {key for key, cell in lora.cells.items() if cell.is_scored} == {(2, "imagenet")}  # Result.text is beside it
    told = (
        "answers whose ground truth is not there (--data ROOT), so that no rule can read them: TextVQA after TextVQA; "
    )
    assert any(line.startswith(told) for line in lora.findings)
    assert lora.questions == {}


def test_missing_cells_are_named_by_task_and_stage(tmp_path: Path):
    write_printed(tmp_path / "GQA" / "Finetune", 50)
    write_printed(tmp_path / "VQAv2" / "Zero_shot", 10)
    (run,) = read_results(tmp_path).runs
    (line,) = (line for line in run.findings if line.startswith("cells without a file"))
    assert "ScienceQA at every stage; " in line
    assert "GQA after VizWiz; GQA after Grounding; GQA after VQAv2; GQA after OCR-VQA; " in line
    assert "no zero-shot scores" not in run.findings


def test_the_order_that_is_given_counts_and_what_does_not_fit_it_is_said(tmp_path: Path):
    write_printed(tmp_path / "ImageNet" / "GQA", 1)
    write_printed(tmp_path / "ImageNet" / "TextVQA", 2)
    assert [type(error) for error in read_results(tmp_path).refused] == [ConfigError]
    (run,) = read_results(tmp_path, order="alphabetical").runs
    assert {position: cell.printed.score for (position, _), cell in run.cells.items() if cell.printed} == {1: 1, 6: 2}
    assert "stages before the task's own training, which are shown as such: ImageNet/GQA" in run.findings


@pytest.mark.parametrize("order", ["random", "gqa,gqa", "gqa,nothing", ""])
def test_orders_that_are_none_are_refused(tmp_path: Path, order: str):
    write_printed(tmp_path / "GQA" / "Finetune", 1)
    with pytest.raises(ConfigError, match=f"--order {order}: use coin, alphabetical, reversed, or names with commas"):
        read_results(tmp_path, order=order)


def test_ground_truth_is_only_read_where_there_are_answers_and_must_be_sound(tmp_path: Path):
    data = write_suite(tmp_path / "data", train=1)
    (data / "cl_dataset" / "GQA" / "testdev_balanced_questions.json").write_text("{}")
    write_printed(tmp_path / "r" / "GQA" / "Finetune", 1)
    assert not read_results(tmp_path / "r", data).refused
    write_answers(tmp_path / "r" / "GQA" / "Finetune", numbered("left"))
    (error,) = read_results(tmp_path / "r", data).refused
    assert isinstance(error, DataError)
    assert len(error.problems) == 4
    assert "is not in GQA/testdev_balanced_questions.json" in error.problems[0]
