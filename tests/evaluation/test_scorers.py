"""Both variants of the eight rules against hand-worked cases, and their refusals."""

import copy
import json
from pathlib import Path

import pytest

from coin_lightning.config_folder import conf_dir, task_nodes
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.evaluation.records import AnswerRecord
from coin_lightning.evaluation.scorers import Scoring, get_scorer

VARIANTS = ("corrected", "reference")
GOLDEN = Path(__file__).parent / "golden"
TASKS = ("scienceqa", "textvqa", "imagenet", "gqa", "vizwiz", "grounding", "vqav2", "ocrvqa")


def cases(task: str) -> list[dict]:
    return json.loads((GOLDEN / f"{task}.json").read_text(encoding="utf-8"))


def every_case() -> list:
    return [pytest.param(task, case, id=f"{task}-{i}") for task in TASKS for i, case in enumerate(cases(task))]


def record(task: str, case: dict) -> AnswerRecord:
    return AnswerRecord(task, "q", "prompt", case["prediction"], case["reference"])


def test_rules_and_golden_files_cover_the_eight_tasks():
    assert sorted(task_nodes(conf_dir())) == sorted(TASKS)
    assert all(tuple(Scoring.of(task, {}).scorers) == VARIANTS for task in TASKS)
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == sorted(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_golden_files_are_broad(task):
    samples = cases(task)
    assert len(samples) >= 45
    assert len({json.dumps([sample["prediction"], sample["reference"]]) for sample in samples}) == len(samples)
    assert any(sample["prediction"] == "" for sample in samples)
    assert any(sample["score_reference"] != sample["score_corrected"] for sample in samples)
    assert all(sample["why"] for sample in samples)


@pytest.mark.parametrize("task", TASKS)
def test_golden_files_say_where_a_score_comes_from(task):
    """`script`: the reference's or the data set's own code was run on the case; `hand`: worked out on paper."""
    samples = cases(task)
    assert {sample["corrected_by"] for sample in samples} <= {"hand", "script"}
    assert sum(sample["reference_by"] == "script" for sample in samples) >= 45
    if task in ("textvqa", "vizwiz", "vqav2"):
        assert sum(sample["corrected_by"] == "script" for sample in samples) >= 14


@pytest.mark.parametrize(("task", "case"), every_case())
@pytest.mark.parametrize("variant", VARIANTS)
def test_golden(task, case, variant):
    before = copy.deepcopy(case)
    answer = record(task, case)
    expected = case[f"score_{variant}"]
    scorer = get_scorer(task, variant)
    assert scorer(answer) == pytest.approx(expected, abs=1e-12), case["why"]
    assert scorer(answer.to_json()) == pytest.approx(expected, abs=1e-12)
    assert scorer({"prediction": case["prediction"], "reference": case["reference"]}) == scorer(answer)
    assert case == before


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("prediction", ["", " ", "\n\t", "\u00a0"])
def test_a_blank_answer_is_never_right_in_corrected(task, prediction):
    for case in cases(task):
        assert get_scorer(task)({"prediction": prediction, "reference": case["reference"]}) == 0.0


@pytest.mark.parametrize("task", [task for task in TASKS if task != "grounding"])
def test_the_data_set_answer_itself_is_right_in_corrected(task):
    for case in cases(task):
        reference = case["reference"]
        answers = reference.get("answers") or []
        best = max(answers, key=answers.count) if len(answers) == 10 else reference["answer"]
        if best.strip() and len(set(reference.get("choices", "xy"))) > 1:  # choices of one text cannot be told apart
            assert get_scorer(task)({"prediction": best, "reference": reference}) == pytest.approx(1.0)


def test_the_true_box_is_always_right_in_corrected_and_not_in_reference():
    references = [case["reference"] for case in cases("grounding") if "box_format" not in case["reference"]]
    scores = {
        variant: {
            get_scorer("grounding", variant)({"prediction": r["answer_bbox"], "reference": r}) for r in references
        }
        for variant in VARIANTS
    }
    assert scores == {"corrected": {1.0}, "reference": {0.0, 1.0}}


@pytest.mark.parametrize(
    ("task", "variant", "prediction"),
    [
        ("scienceqa", "corrected", "It is a fish"),
        ("scienceqa", "reference", "fish"),
        ("grounding", "corrected", "left"),
        ("grounding", "reference", "[0,0,1,1]"),
        ("ocrvqa", "reference", "Unanswerable"),
    ],
)
def test_unreadable_predictions_are_told_from_wrong_ones(task, variant, prediction):
    reference = {
        "choices": ["x", "y"],
        "answer_index": 0,
        "answer": "x",
        "answer_bbox": "[0.1,0.1,0.5,0.5]",
        "size": [4, 3],
    }
    scorer = get_scorer(task, variant)
    assert scorer.read({"prediction": prediction, "reference": reference}) is None
    assert scorer({"prediction": prediction, "reference": reference}) == 0.0
    assert get_scorer("vqav2", variant).read({"prediction": prediction, "reference": reference}) == 0.0


def test_default_variant_is_corrected():
    assert get_scorer("imagenet").variant == "corrected"
    assert get_scorer("imagenet")({"prediction": "", "reference": {"answer": "Crane"}}) == 0.0


@pytest.mark.parametrize(
    ("task", "variant", "message"),
    [
        ("vqa2", "corrected", "no scorer for task 'vqa2'; did you mean .*vqav2"),
        (
            "OCR-VQA",
            "corrected",
            "did you mean ocrvqa.*known: gqa, grounding, imagenet, ocrvqa, scienceqa, textvqa, vizwiz, vqav2",
        ),
        ("zzz", "corrected", r"no scorer for task 'zzz' \(known"),
        ("gqa", "corected", "no scorer variant 'corected'; did you mean corrected"),
        ("gqa", "official", r"no scorer variant 'official' .*known: corrected, reference"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(task, variant, message):
    with pytest.raises(ConfigError, match=message):
        get_scorer(task, variant)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("task", "reference", "message"),
    [
        ("gqa", {}, "no field 'answer'"),
        ("vizwiz", {"answer": None}, "cannot use the reference"),
        ("textvqa", {"answers": ["a"] * 9}, "9 annotator answers"),
        ("scienceqa", {"answer_index": 0}, "no field 'choices'"),
        ("scienceqa", {"choices": ["x", "y"]}, "no field 'answer_index'"),
        ("grounding", {"size": [1, 1]}, "no field 'answer_bbox'"),
        ("grounding", {"answer_bbox": "[0.1,0.2,0.3]", "size": [1, 1]}, "cannot use the reference"),
    ],
)
def test_an_unusable_reference_is_an_error_that_names_the_sample(task, variant, reference, message):
    with pytest.raises(DataError, match=f"{task}, question 17: .*{message}"):
        get_scorer(task, variant)({"question_id": 17, "prediction": "B", "reference": reference})


def test_malformed_records_are_refused():
    with pytest.raises(DataError, match="question 3: the record has no field prediction"):
        get_scorer("gqa")({"question_id": "3", "reference": {"answer": "x"}})
    with pytest.raises(DataError, match="question 3: prediction None is not text"):
        get_scorer("gqa")({"question_id": "3", "prediction": None, "reference": {"answer": "x"}})


def test_a_yaml_of_ones_own_comes_first_and_builds_what_its_target_takes(tmp_path):
    (tmp_path / "task").mkdir()
    rule = "{_target_: coin_lightning.evaluation.corrected_rules.gqa, _partial_: true}"
    cider = "{_target_: coin_lightning.evaluation.cider.CIDErD, sigma: 3}"
    target = "_target_: coin_lightning.tasks.base.InstructionTask, _partial_: true"
    text = f"mine: {{{target}, name: my_captions, version: 4, scorers: {{exact: {rule}, cider: {cider}}}}}"
    (tmp_path / "task" / "captions.yaml").write_text(text)
    assert get_scorer("my_captions", "exact", [tmp_path])({"prediction": "Yes.", "reference": {"answer": "yes"}}) == 1.0
    assert get_scorer("my_captions", "cider", [tmp_path]).sigma == 3
    assert Scoring.of("my_captions", {}, [tmp_path]).version == 4
    with pytest.raises(ConfigError, match="no scorer for task 'my_captions'"):
        get_scorer("my_captions", "exact")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"_target_": "mine.rules.exact"}, "task.mine.scorers.corrected._target_: mine.rules.exact cannot be imported"),
        ("exact", "task.mine.scorers.corrected: 'exact' is no scorer"),
    ],
)
def test_what_is_no_scorer_is_refused_with_its_key(entry, message):
    with pytest.raises(ConfigError, match=message):
        Scoring.of("mine", {"scorers": {"corrected": entry}})
