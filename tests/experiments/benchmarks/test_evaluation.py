"""Evaluation benchmark: identical answers in float32, and figures that follow from the times."""

import json

import pytest


def test_batched_answers_equal_one_by_one(script, tiny, tmp_path, capsys):
    script("evaluation").main(
        ["--samples", "6", "--train-samples", "4", "--dtypes", "float32", *tiny("scienceqa", "vqav2")]
    )
    content = json.loads((tmp_path / "out.json").read_text())
    (result,) = content["results"]
    assert result["answers"] == 12
    assert result["dtype"] == "float32"
    assert set(result["differing"]) == {"ours, batched", "generate, batched"}
    assert not any(result["differing"].values())
    rates = result["answers_per_second"]
    assert result["ours_over_pixels"] == pytest.approx(rates["ours, batched"] / rates["generate one by one, pixels"])
    assert all(task["mean_answer_tokens"] > 0 for task in result["tasks"])
    assert [task["answers"] for task in result["tasks"]] == [6, 6]
    assert content["answer_batch_size"] == 4
    assert "differing" in capsys.readouterr().out


def test_summary_adds_up_tasks(script):
    evaluation = script("evaluation")
    sides = (evaluation.OURS, evaluation.LIBRARY, evaluation.PIXELS)
    key = "answers_that_differ_from_one_by_one_with_pixels"
    cases = [
        {
            "answers": 6,
            "seconds": dict(zip(sides, ([1.0], [2.0], [4.0]), strict=True)),
            key: dict.fromkeys(sides, 1),
        },
        {
            "answers": 2,
            "seconds": dict(zip(sides, ([1.0], [2.0], [12.0]), strict=True)),
            key: dict.fromkeys(sides, 0),
        },
    ]
    found = evaluation.summary(cases)
    assert found["answers_per_second"] == dict(zip(sides, (4.0, 2.0, 0.5), strict=True))
    assert found["ours_over_pixels"] == 8.0
    assert found["differing"] == {evaluation.OURS: 1, evaluation.LIBRARY: 1}
