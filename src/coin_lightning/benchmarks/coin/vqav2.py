"""VQAv2: open questions with ten annotators. CoIN has one conversation per training image (82,783 of COCO train2014).

The test samples are val2014's 214,354 questions: the "107k" said of CoIN is the size of test-dev, which has no answers.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coin_lightning.benchmarks.coin.answers import annotators
from coin_lightning.benchmarks.coin.joining import joined
from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample, RawTask, Samples, needed
from coin_lightning.errors import DataError
from coin_lightning.json_stream import read_array, read_header


def samples(raw: Path, split: str) -> Samples:
    """Samples of a split, the answer being ``multiple_choice_answer``; the questions of an image are one group.

    Args:
        raw: holds ``v2_OpenEnded_mscoco_{split}2014_questions.json`` and ``v2_mscoco_{split}2014_annotations.json``.
        split: ``train`` or ``val``.

    Raises:
        DataError: a file is missing, malformed or of another split.
    """
    questions, annotations = sources(raw, split)
    _must_be(questions, "questions", split)
    _must_be(annotations, "annotations", split)
    pairs = joined(_keyed(questions, "questions"), _keyed(annotations, "annotations"))
    for id_, question, annotation in pairs:
        if question is None or annotation is None:
            here, there = (annotations, questions) if question is None else (questions, annotations)
            yield Problem(f"{here} question_id {id_}: has no partner in {there.name}, or comes twice; fetch both again")
        else:
            yield _sample(id_, question, annotation, questions, split)


def sources(raw: Path, split: str) -> list[Path]:
    """Questions and annotations; raises when one is missing."""
    names = {
        "questions": f"v2_OpenEnded_mscoco_{split}2014_questions.json",
        "annotations": f"v2_mscoco_{split}2014_annotations.json",
    }
    return [needed(raw, (name, f"{kind}/{name}"), f"VQAv2's {split} {kind}") for kind, name in names.items()]


def _must_be(file: Path, key: str, split: str) -> None:
    found = read_header(file, key).get("data_subtype", f"{split}2014")
    if found != f"{split}2014":
        raise DataError(f"{file}: data_subtype is {found!r}, wanted {split}2014; put the right file there")


def _keyed(file: Path, key: str) -> Iterator[tuple[Any, Any]]:
    for place, entry in enumerate(read_array(file, key)):
        id_ = entry.get("question_id") if isinstance(entry, dict) else None
        if not isinstance(id_, int | str):
            raise DataError(f"{file} {key}[{place}]: has no question_id; is it another file?")
        yield id_, entry


def _sample(
    id_: Any, question: dict[str, Any], annotation: dict[str, Any], file: Path, split: str
) -> RawSample | Problem:
    where = f"{file} question_id {id_}"
    image, text, answer = question.get("image_id"), question.get("question"), annotation.get("multiple_choice_answer")
    if type(image) is not int or not isinstance(text, str) or not isinstance(answer, str):
        found = f"{image!r:.60}, {text!r:.60}, {answer!r:.60}"
        return Problem(f"{where}: needs image_id, question and multiple_choice_answer, found {found}")
    if annotation.get("image_id", image) != image:
        return Problem(f"{where}: is about image {image}, its annotation about {annotation['image_id']!r:.60}")
    if isinstance(answers := annotators(annotation.get("answers")), str):
        return Problem(f"{where}: {answers}; mend or remove the annotation")
    fields: dict[str, Any] = {"answers": answers}
    if isinstance(kind := annotation.get("answer_type"), str):
        fields["answer_type"] = kind
    path = f"COCO2014/{split}2014/COCO_{split}2014_{image:012d}.jpg"
    return RawSample(id_, path, text, answer, str(image), fields)


def _images(folder: str) -> tuple[str, ...]:
    return folder, f"COCO2014/{folder}", f"images/{folder}", f"../COCO2014/{folder}", f"../coco/{folder}"


RAW = RawTask(
    key="vqav2",
    folder="VQAv2",
    evaluation="val",
    samples=samples,
    sources=sources,
    images={f"COCO2014/{folder}": _images(folder) for folder in ("train2014", "val2014")},
    raw_folders=("VQAv2", "vqav2", "VQA"),
    layout="v2_OpenEnded_mscoco_{train,val}2014_questions.json, v2_mscoco_{train,val}2014_annotations.json, "
    "{train,val}2014/*.jpg (COCO; also found in ../COCO2014)",
)
