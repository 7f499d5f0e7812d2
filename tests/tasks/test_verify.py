"""Every finding with a data set that has it, and hostile files that must end in a report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from coin_lightning.backbones import tiny
from coin_lightning.errors import ConfigError
from coin_lightning.tasks.expected_counts import Expected
from coin_lightning.tasks.image_ledger import ImageLedger
from coin_lightning.tasks.truth import GQAAnswers, SampleFields, ScienceQAProblems, TextVQAAnswers
from coin_lightning.tasks.verify import TaskReport, count_problem, verify_task
from made_tasks import made_task

TRAIN, TEST = "train.json", "test.json"


class Toy:
    """A task folder to spoil, and what verifying it gives."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root, self.cache = root, cache
        self.folder, self.images = root / "Instructions_Original" / "Toy", root / "cl_dataset"

    def edit(self, file: str, change: Callable[[list[dict[str, Any]]], Any]) -> "Toy":
        """Let `change` work on the samples of a file."""
        samples = json.loads((self.folder / file).read_text())
        change(samples)
        (self.folder / file).write_text(json.dumps(samples))
        return self

    def truth(self, name: str, data: Any) -> None:
        """Write a ground-truth file below the image root."""
        file = self.images / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(data))

    def report(self, tolerate: tuple[str, ...] = (), published: bool = False, max_length: int = 256, **options: Any):
        """Verify; options go to the task."""
        given = {"name": "toy", "directory": "Toy", "max_new_tokens": 8, **options}
        task = made_task(root=self.root, features=self.cache, **given)
        ledger = ImageLedger(self.cache / "images.sqlite")
        return verify_task(task, tiny.load(max_length=max_length), ledger, published, tolerate, workers=2)

    def found(self, **options: Any) -> dict[str, dict[str, Any]]:
        """Findings by kind, `kind@train` where both files have it."""
        return by_kind(self.report(**options))


def by_kind(report: TaskReport) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for each in report.findings:
        found[f"{each['kind']}@{each['split']}" if each["kind"] in found else each["kind"]] = each
    return found


@pytest.fixture
def toy(write_task: Callable[..., Path], tmp_path: Path) -> Toy:
    """Eight training and five test samples on six images, nothing wrong but that the files share their images."""
    return Toy(write_task(), tmp_path / "features")


def test_a_sound_task(toy):
    report = toy.report()
    assert report.counts == {"train": 8, "test": 5}
    assert report.levels == {"error": 0, "warning": 1, "note": 2}
    assert report.images == {"distinct": 4, "sound": 4, "train_without": 2, "test_without": 1}
    assert (report.findings[0]["kind"], report.findings[0]["count"]) == ("shared_image", 4)
    assert report.balance["train"]["distinct"] == 8
    assert report.balance["test"]["unseen"] == 1  # colours, where training has numbers
    assert report.lengths["train"]["histogram"][:4] == [0, 2, 6, 0]  # one token per byte: 0, 7, 14, ..., 49
    assert [(each["split"], each["id"]) for each in report.shown][:6] != []
    assert {each["split"] for each in report.shown} == {"train", "test"}
    assert len(report.shown) == 6 + 5
    json.dumps(report.__dict__)  # goes into a file


def test_the_whole_file_is_checked_not_the_subset(toy):
    assert toy.report(fraction=0.1, limit_test=1).counts == {"train": 8, "test": 5}


def test_a_second_call_decodes_nothing(toy, monkeypatch):
    first = toy.report()
    monkeypatch.setattr("coin_lightning.tasks.image_ledger.open_image", lambda path: pytest.fail(str(path)))
    assert toy.report() == first


def test_images_are_counted_for_a_bar(toy):
    seen: list[tuple[int, int]] = []
    task = made_task("toy", toy.root, "Toy", toy.cache)
    verify_task(task, tiny.load(), ImageLedger(toy.cache / "p.sqlite"), on_progress=lambda *step: seen.append(step))
    assert seen[-1] == (4, 4)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


# images


def test_missing_and_broken_images(toy):
    (toy.images / "red.png").write_bytes(b"nothing")
    whole = (toy.images / "green.png").read_bytes()
    (toy.images / "green.png").write_bytes(whole[:-30])
    (toy.images / "white.png").unlink()
    report = toy.report()
    found = by_kind(report)
    lines = [line for each in report.findings if each["level"] == "error" for line in each["examples"]]
    for name in ("red.png", "green.png", "white.png"):
        assert any(name in line and "train.json sample" in line for line in lines), name
        assert any(name in line and "test.json sample" in line for line in lines), name
    assert "shared_image" in found
    assert report.levels["error"] > 0


def test_the_same_image_under_another_name(toy):
    (toy.images / "copy.png").write_bytes((toy.images / "red.png").read_bytes())
    toy.edit(TEST, lambda samples: samples[0].update(image="copy.png"))
    found = toy.found()["shared_image"]
    assert found["level"] == "warning"
    assert found["count"] == 4
    assert any("test.json sample 0: copy.png has the bytes of red.png" in line for line in found["examples"])


def test_a_size_that_is_not_the_images(toy):
    toy.edit(TEST, lambda samples: samples[0].update(answer_bbox="[0.1,0.3,0.4,0.5]", size=[28, 20]))
    found = toy.found()["image_size"]
    assert found["examples"] == [f"{toy.folder / TEST} sample 0: size [28, 20], swapped, the image is 20 x 28"]


# train and test


def test_the_same_question_about_the_same_image(toy):
    toy.edit(TEST, lambda samples: samples[0].update(text="<image>\nsay  0.\nIn one word."))
    found = toy.found()["shared_question"]
    assert (found["level"], found["count"]) == ("error", 1)
    assert found["examples"] == [f"{toy.folder / TEST} sample 0: as train.json sample 0"]
    assert toy.report(tolerate=("shared_question",)).levels["error"] == 0


def test_the_same_question_about_a_copy_of_the_image(toy):
    (toy.images / "copy.png").write_bytes((toy.images / "red.png").read_bytes())
    toy.edit(TEST, lambda samples: samples[0].update(text="Say 0.", image="copy.png"))
    assert toy.found()["shared_question"]["count"] == 1


def test_the_same_question_about_another_image_is_fine(toy):
    toy.edit(TEST, lambda samples: samples[0].update(text="Say 0.", image="blue.png"))
    assert "shared_question" not in toy.found()


def test_equal_texts_without_images(toy):
    toy.edit(TEST, lambda samples: samples[2].update(text="Say so so 2."))
    found = toy.found()["shared_text"]
    assert (found["level"], found["count"], found["split"]) == ("error", 1, "test")


def test_ids_in_both_files(toy):
    toy.edit(TEST, lambda samples: samples[1].update(question_id="n5"))
    found = toy.found()["shared_id"]
    assert (found["level"], found["count"]) == ("warning", 1)
    assert found["examples"][0].startswith(f"{toy.folder / TEST} sample 1")


def test_questions_asked_twice_in_one_file(toy):
    toy.edit(TRAIN, lambda samples: samples[6].update(conversations=samples[0]["conversations"]))
    found = toy.found()["repeated_question"]
    assert (found["level"], found["split"], found["count"]) == ("note", "train", 1)


# answers


def test_answers_that_are_too_long(toy):
    toy.edit(TEST, lambda samples: samples[0].update(answer="nine bytes"))
    found = toy.found()["long_answer"]
    assert (found["level"], found["split"], found["count"]) == ("warning", "test", 1)
    assert "test.json sample 0: 10 tokens, max_new_tokens=8: 'nine bytes'" in found["examples"][0]


def test_samples_that_do_not_fit_the_context(toy):
    toy.edit(TRAIN, lambda samples: samples[0]["conversations"][1].update(value="x" * 300))
    toy.edit(TEST, lambda samples: samples[0].update(text="y" * 300))
    report = toy.report()
    samples = [each for each in report.findings if each["kind"] == "long_sample"]
    assert {each["split"]: each["count"] for each in samples} == {"train": 1, "test": 1}
    assert all(each["level"] == "error" and "backbone.max_length=256" in each["examples"][0] for each in samples)
    assert "less 8 for the answer" in next(each["examples"][0] for each in samples if each["split"] == "test")


def test_answers_may_go_on_beyond_the_context_where_samples_are_cut(toy):
    toy.edit(TEST, lambda samples: samples[0].update(text="y" * 20))
    assert "long_sample" in toy.found(max_new_tokens=1024)
    assert "long_sample" not in toy.found(max_new_tokens=1024, long_samples="truncate")


def test_a_sample_of_exactly_the_context_fits(toy):
    needed = toy.report()  # all samples are far below
    assert "long_sample" not in by_kind(needed)
    assert "long_sample" in toy.found(max_length=20)


def test_empty_answers(toy):
    toy.edit(TEST, lambda samples: samples[0].update(answer=" "))
    toy.edit(TEST, lambda samples: samples[1].pop("answer"))
    found = toy.found(truth=SampleFields(required=()))
    assert found["empty_answer"]["count"] == 2
    assert found["empty_answer"]["level"] == "warning"
    assert toy.found()["truth"]["level"] == "error"  # where the sample is the only truth


@pytest.mark.parametrize("answers", [["a"] * 9, ["a"] * 11, "a", [None] * 10])
def test_annotators_lists_of_wrong_length(toy, answers):
    toy.edit(TEST, lambda samples: [sample.update(answers=["a"] * 10) for sample in samples])
    assert "truth" not in toy.found()
    toy.edit(TEST, lambda samples: samples[3].update(answers=answers))
    found = toy.found()["truth"]
    assert (found["level"], found["count"]) == ("error", 1)
    assert "sample 3" in found["examples"][0]


# boxes


def boxed(toy: Toy, box: Any, **fields: Any) -> Toy:
    """Make the toy a grounding task with one test box of interest."""

    def tests(samples: list[dict[str, Any]]) -> None:
        for sample in samples:
            sample.pop("answer", None)
            sample.update(answer_bbox="[0.30,0.30,0.60,0.60]", image="blue.png")
        samples[0].update(answer_bbox=box, **fields)

    def train(samples: list[dict[str, Any]]) -> None:
        for sample in samples:
            sample["conversations"][1]["value"] = "[0.30,0.30,0.60,0.60]"

    return toy.edit(TEST, tests).edit(TRAIN, train)


GROUNDING = {"truth": SampleFields(required=("answer_bbox",)), "max_new_tokens": 32}


@pytest.mark.parametrize(
    ("box", "kind", "level"),
    [
        ("[0.3,0.3,0.6]", "box_unreadable", "error"),
        ("left half", "box_unreadable", "error"),
        ("[0.3,0.3,1.6,0.6]", "box_outside", "error"),
        ("[0.6,0.3,0.3,0.6]", "box_outside", "error"),
        ("[0.3,0.3,0.3,0.6]", "box_flat", "warning"),
        ("[0.3,0.0,0.6,0.6]", "box_in_padding", "warning"),
    ],
)
def test_boxes(toy, box, kind, level):
    found = boxed(toy, box).found(**GROUNDING)
    assert (found[kind]["level"], found[kind]["count"], found[kind]["split"]) == (level, 1, "test")
    assert "test.json sample 0" in found[kind]["examples"][0]
    assert {"box_unreadable", "box_outside", "box_flat", "box_in_padding", "box_answer"} & set(found) == {kind}


def test_both_frames_must_agree(toy):
    found = boxed(toy, "[0.3,0.3,0.6,0.6]", origin_answer_bbox="[0.3,0.3,0.6,0.6]", size=[36, 28]).found(**GROUNDING)
    assert found["box_frames"]["count"] == 1
    assert "image_size" not in found  # blue.png has 36 x 28 pixels


def test_training_boxes_are_checked_and_other_answers_named(toy):
    boxed(toy, "[0.3,0.3,0.6,0.6]")
    toy.edit(TRAIN, lambda samples: samples[0]["conversations"][1].update(value="on the left"))
    toy.edit(TRAIN, lambda samples: samples[1]["conversations"][1].update(value="[0.3,0.3,0.6,1.6]"))
    found = toy.found(**GROUNDING)
    assert (found["box_answer"]["level"], found["box_answer"]["split"]) == ("warning", "train")
    assert (found["box_outside"]["level"], found["box_outside"]["split"]) == ("error", "train")


def test_boxes_are_drawn_and_shown_by_area(toy):
    report = boxed(toy, "[0.3,0.3,0.6,0.6]").report(**GROUNDING)
    assert {each["box"] for each in report.shown} == {"[0.30,0.30,0.60,0.60]", "[0.3,0.3,0.6,0.6]"}
    assert dict(report.balance["test"]["top"])["5 to 20 % of the frame"] == 5


# ground truth


def test_ids_that_do_not_join(toy):
    toy.truth("GQA/testdev_balanced_questions.json", {f"t{at}": {"answer": "red"} for at in range(4)})
    found = toy.found(truth=GQAAnswers())
    assert (found["truth"]["level"], found["truth"]["count"]) == ("error", 1)
    assert "sample 4: id 't4' is not in GQA/testdev_balanced_questions.json" in found["truth"]["examples"][0]


def test_a_sample_with_another_answer_than_the_ground_truth(toy):
    answers = ["RED", "green", "black", "white", "black"]
    toy.truth("GQA/testdev_balanced_questions.json", {f"t{at}": {"answer": a} for at, a in enumerate(answers)})
    found = toy.found(truth=GQAAnswers())
    assert (found["truth_differs"]["level"], found["truth_differs"]["count"]) == ("warning", 1)
    assert "sample 2: 'blue', truth 'black'" in found["truth_differs"]["examples"][0]


def test_annotations_with_nine_answers(toy):
    data = [{"question_id": f"t{at}", "answers": ["a"] * (10 - (at == 3))} for at in range(5)]
    toy.truth("TextVQA/TextVQA_0.5.1_val.json", {"data": data})
    assert toy.found(truth=TextVQAAnswers())["truth"]["count"] == 1


@pytest.mark.parametrize(
    ("truth", "file", "data"),
    [
        (TextVQAAnswers(), "TextVQA/TextVQA_0.5.1_val.json", {"data": None}),
        (TextVQAAnswers(), "TextVQA/TextVQA_0.5.1_val.json", [1, 2]),
        (GQAAnswers(), "GQA/testdev_balanced_questions.json", {"t0": [], "t1": {"answer": {}}}),
        (GQAAnswers(), "GQA/other.json", {}),
        (ScienceQAProblems(), "ScienceQA/problems.json", {"t0": {"choices": "AB", "answer": "x"}}),
    ],
)
def test_ground_truth_of_another_form_is_reported(toy, truth, file, data):
    toy.truth(file, data)
    assert toy.found(truth=truth)["truth"]["level"] == "error"


def test_splits_of_another_form_are_reported(toy):
    toy.truth("ScienceQA/problems.json", {})
    toy.truth("ScienceQA/pid_splits.json", {"test": 3})
    assert toy.found(truth=ScienceQAProblems())["truth"]["level"] == "error"


# numbers of samples


def test_a_manifest_that_disagrees(toy):
    (toy.root / "manifest.json").write_text(
        json.dumps({"counts": {"Toy": {"train": {"rows": 9}, "test": {"rows": 5}}}})
    )
    report = toy.report()
    found = by_kind(report)["count"]
    assert (found["level"], found["split"]) == ("warning", "train")
    assert found["examples"] == [f"{toy.folder / TRAIN}: 8 samples; expected 9 (manifest.json)"]
    assert [each["agrees"] for each in (*report.expected["train"], *report.expected["test"])] == [False, True]


def test_published_numbers_are_compared_on_request(toy):
    assert "published_count" not in toy.found(name="gqa")
    found = toy.found(name="gqa", published=True)
    assert (found["published_count"]["level"], found["published_count@test"]["level"]) == ("warning", "warning")
    assert "72140" in found["published_count"]["examples"][0] + found["published_count@test"]["examples"][0]


def test_a_garbled_manifest_is_reported(toy):
    (toy.root / "manifest.json").write_text("{")
    assert "manifest.json" in toy.found()["count"]["examples"][0]


BUILT, EXACT, ROUND = (
    Expected(10, "build.json", "built"), Expected(20, "a count", "JSON count"),
    Expected(100, "somebody", "from memory", rounded=True),
)  # fmt: skip


@pytest.mark.parametrize(
    ("found", "known", "kind"),
    [
        (10, [BUILT, EXACT], None),
        (20, [BUILT, EXACT], "count"),
        (20, [EXACT, ROUND], None),
        (99, [EXACT, ROUND], None),
        (30, [EXACT, ROUND], "published_count"),
        (30, [ROUND], "rounded_count"),
        (97, [ROUND], None),
        (3, [], None),
    ],
)
def test_whose_number_counts(found, known, kind):
    assert count_problem(found, known) == kind


# files that cannot be used


def gone(folder: Path) -> None:
    (folder / TEST).unlink()


def cut(folder: Path) -> None:
    text = (folder / TEST).read_text()
    (folder / TEST).write_text(text[: len(text) // 2])


def other_form(folder: Path) -> None:
    (folder / TEST).write_text('{"samples": []}')


def nothing(folder: Path) -> None:
    (folder / TEST).write_text("")


def no_samples(folder: Path) -> None:
    (folder / TEST).write_text("[]")


def no_text(folder: Path) -> None:
    (folder / TEST).write_bytes(b"[{\xff\xfe")


def a_folder(folder: Path) -> None:
    (folder / TEST).unlink()
    (folder / TEST).mkdir()


@pytest.mark.parametrize("damage", [gone, cut, other_form, nothing, no_samples, no_text, a_folder])
def test_a_file_that_cannot_be_read_is_an_error_and_the_other_is_checked(toy, damage):
    damage(toy.folder)
    toy.edit(TRAIN, lambda samples: samples[0].update(image="gone.png"))
    report = toy.report()
    found = by_kind(report)
    assert report.counts["train"] == 8
    assert report.counts["test"] is None
    assert any("test.json" in line for each in report.findings for line in each["examples"])
    assert any("gone.png" in line for each in report.findings for line in each["examples"])
    assert found["not_checked"]["level"] == "note"
    assert report.levels["error"] >= 1
    assert report.balance["train"]["count"] == 7
    assert "test" not in report.balance


def test_nothing_there_at_all(tmp_path):
    report = Toy(tmp_path / "nowhere", tmp_path / "features").report()
    assert report.counts == {"train": None, "test": None}
    assert report.levels["error"] == 2
    assert report.shown == []


def test_bad_samples_are_listed_and_the_others_checked(toy):
    def spoil(samples: list[Any]) -> None:
        samples[0] = "no sample"
        samples[1].pop("conversations")
        samples[3]["conversations"][1]["value"] = ""
        samples[4]["image"] = "../outside.png"
        samples[5]["id"] = samples[6]["id"]

    toy.edit(TRAIN, spoil)
    report = toy.report()
    found = by_kind(report)["samples"]
    assert (found["level"], found["split"], found["count"]) == ("error", "train", 5)
    for number, words in enumerate(["must be an object", "conversations", "empty answer", "leaves the image folder"]):
        assert any(words in line for line in found["examples"]), number
    assert report.counts["train"] == 8
    assert report.balance["train"]["count"] == 3
    assert "shared_image" in by_kind(report)


def test_repeated_ids_that_a_run_would_allow(toy):
    toy.edit(TRAIN, lambda samples: samples[5].update(id=samples[6]["id"]))
    assert toy.found()["samples"]["count"] == 1
    assert "samples" not in toy.found(repeated_train_ids="allow")


def test_a_run_that_does_not_train_needs_no_training_samples(toy):
    (toy.folder / TRAIN).unlink()
    report = toy.report(trains=False)
    assert report.levels["error"] == 0
    assert report.counts == {"train": None, "test": 5}


def test_training_samples_in_the_place_of_test_samples(toy):
    (toy.folder / TEST).write_text((toy.folder / TRAIN).read_text())
    report = toy.report()
    assert by_kind(report)["samples"]["split"] == "test"
    assert report.levels["error"] >= 1


def test_a_huge_image_is_refused_unseen(toy):
    Image.new("1", (200, 2)).save(toy.images / "red.png")
    assert any("200 x 2 pixels" in line for each in toy.report().findings for line in each["examples"])


def test_only_errors_can_be_tolerated(toy):
    with pytest.raises(ConfigError, match="no such kind of error"):
        toy.report(tolerate=("nonsense",))
