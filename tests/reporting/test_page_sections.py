"""What the page says of judges and of both readings of the rules."""

import json
from pathlib import Path

import numpy as np
import pytest
from fake_run import add_judge, add_variants, build_run
from small_matrix import content, matrix

from coin_lightning.reporting.page_sections import judge_sections, matrix_cells, scoring_section, unparsed_text
from coin_lightning.reporting.run_artifacts import load_run
from coin_lightning.reporting.run_matrix import load_matrix, parse_matrix

TASKS = ("gqa", "vqav2")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return build_run(tmp_path, tasks=TASKS, answers=4, images=False)


def test_cells_say_what_kind_they_are_and_how_strong_their_colour_is() -> None:
    rows = matrix_cells(matrix())
    assert [row["title"] for row in rows] == ["zero-shot", "a", "b", "c"]
    kinds = [[cell["kind"] for cell in row["cells"]] for row in rows]
    assert kinds[0] == ["start"] * 3
    assert kinds[2] == ["past", "own", "empty"]
    cell = rows[3]["cells"][1]
    assert (cell["value"], cell["change"], cell["gain"]) == (30, -40, False)
    assert cell["strength"] == round(40 / 60 * 100)


def test_below_zero_shot_stands_what_the_questions_give_without_looking() -> None:
    guesses = {
        "a": {"answer": "A", "score": 40.0, "chance": 50.0},
        "b": {"answer": "no", "score": 25.0, "chance": None},
    }
    rows = matrix_cells(parse_matrix(content(guesses=guesses)))
    assert [row["title"] for row in rows] == ["zero-shot", "guessing", "a", "b", "c"]
    assert [cell["value"] for cell in rows[1]["cells"][:2]] == [50.0, 25.0]
    assert [cell["kind"] for cell in rows[1]["cells"]] == ["start", "start", "empty"]


def test_each_judge_has_its_matrix_and_its_identity(run: Path) -> None:
    add_judge(run, "near", "embedding")
    add_judge(run, "chat", "hf")
    near, chat = judge_sections(load_matrix(run))
    assert (near.name, near.embedding, chat.name, chat.embedding) == ("near", True, "chat", False)
    assert "some-model (1.0)" in near.identity
    assert near.cells[0]["cells"][0]["value"] == 50 + load_matrix(run).scores[0, 0] / 2


def test_unread_replies_are_counted_and_placed(run: Path) -> None:
    add_judge(run, "chat", "hf", unparsed=2)
    loaded = load_matrix(run)
    total = int(np.nansum(loaded.judges["chat"].counts))
    assert unparsed_text(loaded, loaded.judges["chat"]) == (
        f"2 of {total} replies could not be read and are left out of the scores: GQA after zero-shot 2"
    )
    add_judge(run, "other", "hf")
    loaded = load_matrix(run)
    assert unparsed_text(loaded, loaded.judges["other"]) == f"all {total} replies could be read"


def test_both_readings_name_the_rows_that_differ(run: Path) -> None:
    add_variants(run)
    record = {
        "task": "vqav2",
        "question_id": "odd",
        "prompt": "q",
        "prediction": "Red.",
        "reference": {"answer": "red"},
    }
    (run / "task_02_vqav2/records/vqav2.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    section = scoring_section(load_run(run))
    assert section is not None
    assert section.after == "vqav2"
    assert [(row.task, row.differing, row.count) for row in section.rows] == [("gqa", 1, 4), ("vqav2", 1, 4)]
    assert all(row.difference("reference") == pytest.approx(2.5) for row in section.rows)
    task, rows, total = section.differences[0]
    assert (task, total) == ("vqav2", 1)
    assert (rows[0].question_id, dict(rows[0].scores)) == ("odd", {"corrected": 1.0, "reference": 0.0})
    assert section.metrics["reference"] == {"acc": 42.5}
    assert section.parts == [("scienceqa", "image", 75.0, 20)]


def test_an_older_run_has_one_reading_only(run: Path) -> None:
    section = scoring_section(load_run(run))
    assert section is not None
    assert [([*row.scores], row.differing) for row in section.rows] == [(["corrected"], None)] * 2
    assert section.differences == []


def test_before_any_scores_there_is_nothing_to_show(tmp_path: Path) -> None:
    run = build_run(tmp_path / "new", tasks=TASKS, finished=-1, images=False)
    assert scoring_section(load_run(run)) is None
