"""The join of answers and truth: by id, and everything that does not fit is said."""

from pathlib import Path

import pytest

from coin_lightning.config_folder import conf_dir, task_nodes
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.imports.cells import Cell, read_cell
from coin_lightning.imports.findings import Findings
from coin_lightning.imports.folders import Place
from coin_lightning.imports.questions import Questions, read_questions
from coin_lightning.imports.spellings import OWN
from coin_results import numbered, write_answers, write_options, write_printed
from small_coin import write_suite

NODES = task_nodes(conf_dir())


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Questions]:
    root = write_suite(tmp_path_factory.mktemp("suite"), train=1)
    return {
        task: read_questions(root, "Instructions_Original", task, NODES[task]) for task in ("imagenet", "scienceqa")
    }


def read(folder: Path, questions: Questions | None, task: str = "imagenet") -> tuple[Cell, list[str]]:
    findings = Findings()
    scoring = Scoring.of(task, NODES[task])
    return read_cell(Place(task, OWN, folder), "here", questions, scoring, False, findings), findings.lines()


def test_the_order_of_lines_does_not_matter(tmp_path: Path, questions: dict[str, Questions]):
    texts = numbered("c", "C", "x", "c")
    cell, lines = read(write_answers(tmp_path / "a", texts), questions["imagenet"])
    shuffled, _ = read(write_answers(tmp_path / "b", texts[::-1]), questions["imagenet"])
    assert cell.scores is not None
    assert shuffled.scores is not None
    for variant, score in {"corrected": 75, "reference": 50}.items():
        assert cell.scores.by_variant[variant].score == shuffled.scores.by_variant[variant].score == score
    assert lines == []


def test_prompts_are_the_questions_own_whatever_stands_around_them(tmp_path: Path, questions: dict[str, Questions]):
    text = questions["imagenet"].texts["1000"]
    cell, lines = read(
        write_answers(tmp_path, numbered("c", "c"), f"System: <img>x</img>{text} Assistant:"), questions["imagenet"]
    )
    assert cell.records is not None
    assert cell.records[0].prompt == text
    assert cell.records[1].prompt.startswith("System")  # of another question
    assert lines[1] == "prompts that are not the text of their question (other instructions? --instructions): here (1)"


def test_what_does_not_fit_is_counted_and_said(tmp_path: Path, questions: dict[str, Questions]):
    prompt = "\n".join(questions["imagenet"].texts.values())
    folder = write_answers(tmp_path, [*numbered("c", "c"), ("1001", "c"), ("77", "c")], prompt)
    cell, lines = read(write_printed(folder, 96.05), questions["imagenet"])
    assert cell.records is not None
    assert [record.question_id for record in cell.records] == ["1000", "1001"]
    assert lines == [
        "answers that stand there more than once, used once: here (1)",
        "answers to questions that the data do not have, left out: here (1)",
        "questions without an answer, which no score counts: here (2 of 4)",
        "printed scores that the answers do not give by the same rule: here (printed 96.05, recomputed 100.00)",
    ]


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ([], "files without an answer: here"),
        (
            [("1000", "c"), ("1000", "x")],
            "questions with two different answers, so that the answers are not used: here (1, e.g. 1000)",
        ),
        (
            [("a.JPEG", "c")],
            "answers none of whose ids is in test.json, so that they are not used: here ('a.JPEG' against '1000')",
        ),
    ],
)
def test_answers_that_cannot_be_joined_leave_the_printed_score(
    tmp_path: Path, questions: dict[str, Questions], answers: list[tuple[str, str]], line: str
):
    cell, lines = read(write_printed(write_answers(tmp_path, answers), 50), questions["imagenet"])
    assert (cell.records, cell.scores) == (None, None)
    assert cell.printed is not None
    assert lines == [line]


def test_answers_without_truth_are_no_score(tmp_path: Path):
    cell, lines = read(write_answers(tmp_path, numbered("c")), None)
    assert not cell.is_scored
    assert lines[0].startswith("answers whose ground truth is not there (--data ROOT)")


def test_scienceqas_own_file_has_its_answers(tmp_path: Path, questions: dict[str, Questions]):
    outputs = {"1000": "B", "1001": "The answer is A.", "1002": "B", "1003": "FAILED"}
    cell, lines = read(write_options(tmp_path, outputs, 50.0), questions["scienceqa"], "scienceqa")
    assert cell.records is not None
    assert [record.prediction for record in cell.records] == ["B", "The answer is A.", "B"]
    assert "questions without an answer in output_result.jsonl: here (1)" in lines
    assert not any("recomputed" in line for line in lines)  # two of four are right, as printed


def reference_score(cell: Cell) -> float:
    assert cell.scores is not None
    return cell.scores.by_variant["reference"].score


def test_scienceqas_reference_score_counts_what_was_not_answered_as_the_script_does(
    tmp_path: Path, questions: dict[str, Questions]
):
    """Of four questions three are answered, two of them rightly; the truth of all is B."""
    folder = write_answers(tmp_path, [("1000", "B"), ("1001", "A"), ("1002", "B")])
    cell, lines = read(write_printed(folder, 50), questions["scienceqa"], "scienceqa")
    assert (reference_score(cell), cell.unanswered) == (50, 1)
    assert cell.scores is not None
    assert cell.scores.by_variant["corrected"].score == pytest.approx(66.67, abs=0.01)
    assert {score.count for score in cell.scores.by_variant.values()} == {3}
    assert lines == [
        "questions without an answer, which by its script's rule are wrong in the reference score, alone: here (1 of 4)"
    ]


def test_other_tasks_scores_are_over_what_was_answered(tmp_path: Path, questions: dict[str, Questions]):
    cell, lines = read(write_printed(write_answers(tmp_path, numbered("c", "c", "x")), 66.67), questions["imagenet"])
    assert (reference_score(cell), cell.unanswered) == (pytest.approx(66.67, abs=0.01), 0)
    assert lines == ["questions without an answer, which no score counts: here (1 of 4)"]


def test_all_of_scienceqa_answered(tmp_path: Path, questions: dict[str, Questions]):
    cell, lines = read(
        write_printed(write_answers(tmp_path, numbered("B", "B", "B", "A")), 50), questions["scienceqa"], "scienceqa"
    )
    assert reference_score(cell) == 75
    assert lines == [
        "printed scores that the answers do not give by the same rule: here (printed 50.00, recomputed 75.00)"
    ]
