"""A tree of results read whole: order, missing cells, ground truth that is not there, and what is refused."""

import json
from pathlib import Path

import pytest

from coin_lightning.errors import ConfigError, DataError
from coin_lightning.imports.coin import ImportedRun, Results
from coin_results import numbered, write_answers, write_printed, write_results
from small_coin import write_suite


def only(root: Path, data: Path | None = None, order: str | None = None) -> ImportedRun:
    """The one run below a folder."""
    results = Results(root, data, order=order)
    (found,) = results.runs
    return results.read(found)


def test_without_ground_truth_answers_are_named_and_not_scored(tmp_path: Path):
    results = Results(write_results(tmp_path), order="textvqa,imagenet,gqa")
    lora = results.read(results.runs[1])
    assert {key for key, cell in lora.cells.items() if cell.is_scored} == {(2, "imagenet")}  # Result.text is beside it
    told = (
        "answers whose ground truth is not there (--data ROOT), so that no rule can read them: TextVQA after TextVQA; "
    )
    assert any(line.startswith(told) for line in lora.findings)
    assert lora.questions == {}


def test_missing_cells_are_named_by_task_and_stage(tmp_path: Path):
    write_printed(tmp_path / "GQA" / "Finetune", 50)
    write_printed(tmp_path / "VQAv2" / "Zero_shot", 10)
    run = only(tmp_path)
    (line,) = (line for line in run.findings if line.startswith("cells without a file"))
    assert "ScienceQA at every stage; " in line
    assert "GQA after VizWiz; GQA after Grounding; GQA after VQAv2; GQA after OCR-VQA; " in line
    assert "no zero-shot scores" not in run.findings


def test_the_order_that_is_given_counts_and_what_does_not_fit_it_is_said(tmp_path: Path):
    write_printed(tmp_path / "ImageNet" / "GQA", 1)
    write_printed(tmp_path / "ImageNet" / "TextVQA", 2)
    with pytest.raises(ConfigError, match="--order"):
        only(tmp_path)
    run = only(tmp_path, order="alphabetical")
    assert {position: cell.printed.score for (position, _), cell in run.cells.items() if cell.printed} == {1: 1, 6: 2}
    assert "stages before the task's own training, which are shown as such: ImageNet/GQA" in run.findings


def test_the_authors_alphabet_has_a_name(tmp_path: Path):
    """As `CoIN/LLaVA-alphabet`, which scored Grounding before it was learned, so that no order fits all its stages."""
    for place, score in {
        "GQA/ImageNet": 0,
        "ImageNet/Grounding": 1,
        "Grounding/OCRVQA": 2,
        "Grounding/Finetune": 3,
    }.items():
        write_printed(tmp_path / place, score)
    with pytest.raises(ConfigError, match="--order coin_alphabet, alphabetical or"):
        only(tmp_path)
    run = only(tmp_path, order="coin_alphabet")
    assert {(position, task): cell.printed.score for (position, task), cell in run.cells.items() if cell.printed} == {
        (2, "gqa"): 0, (3, "grounding"): 2, (4, "imagenet"): 1, (4, "grounding"): 3,
    }  # fmt: skip
    assert "stages before the task's own training, which are shown as such: Grounding/OCRVQA" in run.findings


@pytest.mark.parametrize("order", ["random", "gqa,gqa", "gqa,nothing", ""])
def test_orders_that_are_none_are_refused(tmp_path: Path, order: str):
    write_printed(tmp_path / "GQA" / "Finetune", 1)
    known = "coin, coin_alphabet, alphabetical, reversed, or names with commas"
    with pytest.raises(ConfigError, match=f"--order {order}: use {known}"):
        Results(tmp_path, order=order)


def test_ground_truth_is_only_read_where_there_are_answers_and_must_be_sound(tmp_path: Path):
    data = write_suite(tmp_path / "data", train=1)
    (data / "cl_dataset" / "GQA" / "testdev_balanced_questions.json").write_text("{}")
    write_printed(tmp_path / "r" / "GQA" / "Finetune", 1)
    assert only(tmp_path / "r", data).questions == {}
    write_answers(tmp_path / "r" / "GQA" / "Finetune", numbered("left"))
    with pytest.raises(DataError) as error:
        only(tmp_path / "r", data)
    assert len(error.value.problems) == 4
    assert "is not in GQA/testdev_balanced_questions.json" in error.value.problems[0]


def test_a_task_of_ones_own_needs_the_rule_by_which_its_run_is_shown(tmp_path: Path):
    """One cell was only printed, so the whole matrix would be one of `reference` scores, which the other task lacks."""
    rule = "{_target_: coin_lightning.evaluation.corrected_rules.gqa, _partial_: true}"
    (tmp_path / "conf" / "task").mkdir(parents=True)
    node = f"mine: {{name: mine, directory: GQA2, title: Mine, scorers: {{corrected: {rule}}}}}"
    (tmp_path / "conf" / "task" / "mine.yaml").write_text(node)
    (tmp_path / "data" / "Instructions_Original" / "GQA2").mkdir(parents=True)
    questions = [{"question_id": "1000", "text": "Where?", "answer": "left"}]
    (tmp_path / "data" / "Instructions_Original" / "GQA2" / "test.json").write_text(json.dumps(questions))
    write_answers(tmp_path / "r" / "GQA2" / "Finetune", numbered("left"))
    results = Results(tmp_path / "r", tmp_path / "data", order="mine,gqa", folders=[tmp_path / "conf"])
    assert results.read(results.runs[0]).variant == "corrected"
    write_printed(tmp_path / "r" / "GQA" / "Finetune", 50)
    results = Results(tmp_path / "r", tmp_path / "data", order="mine,gqa", folders=[tmp_path / "conf"])
    with pytest.raises(ConfigError, match="mine has no scorer variant 'reference'"):
        results.read(results.runs[0])


def test_labels_that_a_tasks_rule_cannot_judge_by_are_told_and_left_out(tmp_path: Path):
    """TextVQA's rule asks for ten answers; a list of wrong ones beside its score once ended the whole import."""
    write_printed(tmp_path / "TextVQA" / "Finetune", 50, samples=2, wrong=[("1", "7", "8")])
    write_printed(tmp_path / "ImageNet" / "Finetune", 50, samples=2, wrong=[("1", "A", "a")])
    run = only(tmp_path)
    assert [hidden.task for hidden in run.hidden] == ["imagenet"]
    assert "lists of wrong answers whose labels say too little for the task's rule, left out: TextVQA/Finetune" in [
        *run.findings
    ]
