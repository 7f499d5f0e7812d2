"""Files of an experience, written at once or in parts."""

from pathlib import Path

from coin_lightning.continual.experience_scores import filled, keep_scores
from coin_lightning.continual.scenario import Experience
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorers import Scoring
from coin_lightning.evaluation.side_by_side import CellScores, score_all
from coin_lightning.run_files import read_json

ORDER = ["scienceqa", "gqa", "imagenet"]
ANSWERS = {
    "gqa": [("Yes", {"answer": "yes"}), ("no!", {"answer": "no"})],
    "imagenet": [("", {"answer": "Crane"})],
    "scienceqa": [("B", {"choices": ["x", "y"], "answer_index": 1, "image": "a.png"})],
}


def scored(*tasks: str) -> dict[str, CellScores]:
    return {
        task: score_all(
            [AnswerRecord(task, str(i), "", text, ref) for i, (text, ref) in enumerate(ANSWERS[task])],
            Scoring.of(task, {}),
        )
        for task in tasks
    }


def router(*tasks: str) -> dict:
    return {"num_experts": 2, "layers": ["q"], "load": {task: [[0.5, 0.5]] for task in tasks}}


def test_two_parts_are_the_whole(tmp_path: Path):
    whole, parts = (Experience(1, None, tmp_path / name) for name in ("whole", "parts"))
    keep_scores(whole, scored(*ORDER), "reference", 5.0, router(*ORDER), ORDER)
    keep_scores(parts, scored("gqa"), "reference", 2.0, router("gqa"), ORDER)
    keep_scores(parts, scored("scienceqa", "imagenet"), "reference", 3.0, router("scienceqa", "imagenet"), ORDER)
    for name in ("scores.json", "router.json"):
        assert (parts.folder / name).read_text() == (whole.folder / name).read_text()
    scores = read_json(whole.folder / "scores.json")
    assert list(scores["scores"]) == ORDER
    assert scores["scores"] == {"scienceqa": 100.0, "gqa": 50.0, "imagenet": 100.0}
    assert scores["variants"]["corrected"]["scores"]["imagenet"] == 0.0
    assert (scores["answers"], scores["seconds"], scores["scorer"]) == (4, 5.0, "reference")
    assert scores["breakdown"] == {"scienceqa": {"image": {"score": 100.0, "count": 1}}}


def test_without_a_router_there_is_no_file_of_it(tmp_path: Path):
    keep_scores(Experience(0, None, tmp_path), scored("gqa"), "corrected", 1.0, {}, ORDER)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["manifest.json", "scores.json"]


def test_of_a_task_that_both_have_the_new_one_counts():
    old = {"scores": {"gqa": 1.0, "scienceqa": 2.0}, "breakdown": {"scienceqa": {"image": {"score": 0.0, "count": 3}}}}
    new = {"scores": {"scienceqa": 9.0}, "breakdown": {"scienceqa": {"image": {"score": 5.0, "count": 4}}}}
    assert filled(old, new, ORDER) == {
        "scores": {"scienceqa": 9.0, "gqa": 1.0},
        "breakdown": {"scienceqa": {"image": {"score": 5.0, "count": 4}}},
    }
