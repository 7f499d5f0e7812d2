import json
from pathlib import Path

import pytest

from coin_lightning.errors import DataError
from coin_lightning.tasks.sample_format import Media, TestSample
from coin_lightning.tasks.truth import BoxFields, GQAAnswers, SampleFields, ScienceQAProblems, TextVQAAnswers


def sample(name: str, image: str | None = None, **fields: object) -> TestSample:
    return TestSample(name, "q", (Media(image),) if image else (), fields, f"test.json sample {name}")


def put(root: Path, name: str, data: object) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(json.dumps(data))


def problems_of(truth, samples, images) -> list[str]:
    with pytest.raises(DataError) as refusal:
        truth(samples, images)
    return refusal.value.problems


def test_sample_fields_are_the_reference_with_the_image_beside_them(tmp_path):
    samples = [sample("1", "a.jpg", answer="yes", answers=["yes"] * 10), sample("2", answer=0)]
    assert SampleFields()(samples, tmp_path) == [
        {"answer": "yes", "answers": ["yes"] * 10, "image": "a.jpg"},
        {"answer": "0"},
    ]
    assert "image" not in samples[0].fields  # the sample itself is left alone


def test_samples_without_a_required_field_are_all_listed(tmp_path):
    samples = [sample("1", answer_bbox="[0,0,1,1]", size=[1, 1]), sample("2", answer_bbox=""), sample("3", size=None)]
    assert problems_of(SampleFields(["answer_bbox", "size"]), samples, tmp_path) == [
        "test.json sample 2: field 'answer_bbox' is missing",
        "test.json sample 2: field 'size' is missing",
        "test.json sample 3: field 'answer_bbox' is missing",
        "test.json sample 3: field 'size' is missing",
    ]


def test_scienceqa_keeps_what_the_breakdown_needs(tmp_path):
    problem = {"choices": ["x", "y"], "answer": 0, "subject": "social science"}
    problems = {"1": {**problem, "hint": " ", "grade": "grade8"}, "2": {**problem, "hint": "In 1861 ..."}, "3": problem}
    put(tmp_path, "ScienceQA/problems.json", problems)
    put(tmp_path, "ScienceQA/pid_splits.json", {"test": ["1", "2", "3"]})
    first, second, third = ScienceQAProblems()([sample("1"), sample("2"), sample("3")], tmp_path)
    assert (first["hint"], first["grade"]) == (False, "grade8")
    assert (second["hint"], "grade" in second) == (True, False)
    assert "hint" not in third


def box(name: str, answer: object, **fields: object) -> TestSample:
    return sample(name, "a.jpg", answer_bbox=answer, **{"size": [4, 3], **fields})


def test_boxes_may_be_texts_or_lists_and_come_as_texts(tmp_path):
    samples = [box("1", "[0.1,0.25,0.4,1.0]"), box("2", [0, 0.5, 1, 1.0], origin_answer_bbox=[1, 2, 3, 4.5])]
    first, second = BoxFields()(samples, tmp_path)
    assert first == {"answer_bbox": "[0.1,0.25,0.4,1.0]", "size": [4, 3], "image": "a.jpg"}
    assert (second["answer_bbox"], second["origin_answer_bbox"]) == ("[0,0.5,1,1.0]", "[1,2,3,4.5]")


def test_boxes_that_cannot_be_right_are_all_listed(tmp_path):
    samples = [
        box("1", "[0.1,0.2,0.3]"), box("2", "left"), box("3", [0, 0, 1, None]), box("4", "[0,0,1,1.3]"),
        box("5", "[0.6,0,0.5,1]"), box("6", "[0,0,1,1]", size="4x3"), box("7", "[0,0,1,1]", origin_answer_bbox="?"),
        box("8", "[0,0,1.01,1]"), box("9", "", size=None),
    ]  # fmt: skip
    assert problems_of(BoxFields(), samples, tmp_path) == [
        "test.json sample 1: field 'answer_bbox' is no box of four numbers: '[0.1,0.2,0.3]'",
        "test.json sample 2: field 'answer_bbox' is no box of four numbers: 'left'",
        "test.json sample 3: field 'answer_bbox' is no box of four numbers: [0, 0, 1, None]",
        "test.json sample 4: field 'answer_bbox' lies outside its image or has swapped corners: [0.0, 0.0, 1.0, 1.3]",
        "test.json sample 5: field 'answer_bbox' lies outside its image or has swapped corners: [0.6, 0.0, 0.5, 1.0]",
        "test.json sample 6: field 'size' must be [width, height], found '4x3'",
        "test.json sample 7: field 'origin_answer_bbox' is no box of four numbers: '?'",
        "test.json sample 9: field 'answer_bbox' is missing",
        "test.json sample 9: field 'size' is missing",
    ]


def test_scienceqa_joins_problems_and_split(tmp_path):
    problems = {
        "7": {"choices": ["x", "y", "z"], "answer": 2, "subject": "natural science"},
        "8": {"choices": ["x", "y"], "answer": 2},
        "9": {"choices": ["x", "y"], "answer": 0},
    }
    put(tmp_path, "ScienceQA/problems.json", problems)
    put(tmp_path, "ScienceQA/pid_splits.json", {"test": [7, "8", "10"], "train": ["9"]})
    assert ScienceQAProblems()([sample("7", "p.png")], tmp_path) == [
        {"answer": "C", "choices": ["x", "y", "z"], "answer_index": 2, "subject": "natural science", "image": "p.png"}
    ]
    problems = problems_of(ScienceQAProblems(), [sample("7"), sample("8"), sample("9"), sample("10")], tmp_path)
    assert [line.split(":")[0] for line in problems] == [
        f"{tmp_path}/ScienceQA/problems.json id '8'",
        "test.json sample 9",
        "test.json sample 10",
    ]
    assert "answer 2 is no index into its choices" in problems[0]
    assert "is not in ScienceQA/problems.json and split 'test'" in problems[1]


def test_textvqa_joins_the_ten_answers_by_question_id(tmp_path):
    ten = [f"a{at}" for at in range(10)]
    data = {"data": [{"question_id": 5, "answers": ten}, {"question_id": 6, "answers": ten[:9]}]}
    put(tmp_path, "TextVQA/TextVQA_0.5.1_val.json", data)
    assert TextVQAAnswers()([sample("5", "t.jpg", answer="a0")], tmp_path) == [
        {"answer": "a0", "answers": ten, "image": "t.jpg"}
    ]
    assert problems_of(TextVQAAnswers(), [sample("5"), sample("6"), sample("7")], tmp_path) == [
        "test.json sample 6: id '6' has no ten answers in TextVQA/TextVQA_0.5.1_val.json",
        "test.json sample 7: id '7' has no ten answers in TextVQA/TextVQA_0.5.1_val.json",
    ]


def test_gqa_joins_by_key(tmp_path):
    put(tmp_path, "GQA/testdev_balanced_questions.json", {"201": {"answer": "left"}, "202": {"question": "?"}})
    assert GQAAnswers()([sample("201", "g.jpg", answer="ignored")], tmp_path) == [{"answer": "left", "image": "g.jpg"}]
    assert len(problems_of(GQAAnswers(), [sample("201"), sample("202"), sample("203")], tmp_path)) == 2


@pytest.mark.parametrize(
    "truth", [ScienceQAProblems(), TextVQAAnswers(), GQAAnswers()], ids=lambda one: type(one).__name__
)
def test_a_missing_annotation_file_is_named(tmp_path, truth):
    assert "file is missing" in problems_of(truth, [sample("1")], tmp_path)[0]


@pytest.mark.parametrize(
    ("truth", "file"),
    [
        (ScienceQAProblems(), "ScienceQA/problems.json"),
        (TextVQAAnswers(), "TextVQA/TextVQA_0.5.1_val.json"),
        (GQAAnswers(), "GQA/testdev_balanced_questions.json"),
    ],
    ids=["scienceqa", "textvqa", "gqa"],
)
@pytest.mark.parametrize("content", [["a list"], {"1": "no object", "data": ["no object"]}], ids=["list", "texts"])
def test_an_annotation_file_of_another_shape_is_refused_by_name(tmp_path, truth, file, content):
    put(tmp_path, "ScienceQA/pid_splits.json", {"test": ["1"]})
    put(tmp_path, file, content)
    assert Path(file).name in problems_of(truth, [sample("1")], tmp_path)[0]


def test_what_an_annotation_file_says_in_another_type_is_converted_or_refused(tmp_path):
    official = [{"answer": "yes", "answer_confidence": "maybe"}] * 9 + [3]
    put(tmp_path, "TextVQA/TextVQA_0.5.1_val.json", {"data": [{"question_id": 1, "answers": official}]})
    assert TextVQAAnswers()([sample("1", answer=3)], tmp_path) == [{"answer": "3", "answers": ["yes"] * 9 + ["3"]}]
    assert "'answer' must be a text" in problems_of(TextVQAAnswers(), [sample("1", answer=["a"])], tmp_path)[0]
    put(
        tmp_path,
        "GQA/testdev_balanced_questions.json",
        {"1": {"answer": 2.5}, "2": {"answer": {}}, "3": {"answer": ""}},
    )
    assert GQAAnswers()([sample("1")], tmp_path) == [{"answer": "2.5"}]
    assert len(problems_of(GQAAnswers(), [sample("2"), sample("3"), sample("4")], tmp_path)) == 3
    wrong = [
        {"choices": ["x", None], "answer": 0},
        {"choices": "xy", "answer": 1},
        {"choices": ["x", "y"], "answer": True},
    ]
    put(tmp_path, "ScienceQA/problems.json", {str(at): each for at, each in enumerate(wrong)})
    put(tmp_path, "ScienceQA/pid_splits.json", {"test": [0, 1, 2]})
    assert len(problems_of(ScienceQAProblems(), [sample("0"), sample("1"), sample("2")], tmp_path)) == 3


@pytest.mark.parametrize(
    ("truth", "file", "key"),
    [
        (ScienceQAProblems(), "ScienceQA/pid_splits.json", "test"),
        (TextVQAAnswers(), "TextVQA/TextVQA_0.5.1_val.json", "data"),
    ],
    ids=["scienceqa", "textvqa"],
)
def test_a_list_of_an_annotation_file_that_is_none_is_named(tmp_path, truth, file, key):
    put(tmp_path, "ScienceQA/problems.json", {})
    put(tmp_path, file, {key: 5})
    assert problems_of(truth, [sample("1")], tmp_path) == [
        f"{tmp_path / file}: must hold a list under {key!r}, found int; fetch or build it again"
    ]
