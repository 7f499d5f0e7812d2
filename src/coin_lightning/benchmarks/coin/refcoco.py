"""CoIN's Grounding from RefCOCO, RefCOCO+ and RefCOCOg: `refs(*).p` with `instances.json`, as the refer API has them.

What CoIN took of them is derived from public counts, since no source says it:
* test, 30,969 samples = testA 5,657 + testB 5,095 of RefCOCO, testA 5,726 + testB 4,889 of RefCOCO+ (both by unc),
  test 9,602 of RefCOCOg (split by umd). No val is in it.
* train, "55k" samples = 16,994 + 16,992 + 21,899 = 55,885 training images: one conversation per set and image, a turn
  for each of the 321,327 sentences. The published file's 107 MB agree (some 300 bytes a turn, 150 a sample).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coin_lightning.benchmarks.coin.frames import corner_box, format_box, original_box, padded_box
from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample, RawTask, Samples, needed
from coin_lightning.benchmarks.coin.restricted_pickle import load_plain
from coin_lightning.errors import ConfigError, DataError
from coin_lightning.json_stream import read_array

SETS = ("refcoco", "refcoco+", "refcocog")
TEST_SPLITS = ("val", "testA", "testB", "test")
IMAGES = "COCO2014/train2014"  # the images of every split come from COCO's training folder
PLACES = (
    "train2014",
    IMAGES,
    "images/train2014",
    "images/mscoco/images/train2014",
    f"../{IMAGES}",
    "../coco/train2014",
)
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Reference:
    """One object of an image and what people called it; `where` names file and record."""

    where: str
    image_id: int
    ann_id: int
    sentences: list[Any]


@dataclass(frozen=True, slots=True)
class _Instances:
    """Of the needed ones: image id -> (file name, size), annotation id -> (image id, COCO box)."""

    images: dict[int, tuple[str, Size]]
    boxes: dict[int, tuple[Any, Any]]


def samples(
    raw: Path,
    split: str,
    sets: str = ",".join(SETS),
    refcoco: str = "unc",
    refcocog: str = "umd",
    test_splits: str = "testA,testB,test",
) -> Samples:
    """Samples of a split: one per sentence, those of an image together and in one group.

    Args:
        raw: holds a folder per set with `refs(<who split it>).p` and `instances.json`.
        split: `train` or `test`.
        sets: which of the three, separated by commas.
        refcoco: who split RefCOCO, `unc` or `google`.
        refcocog: who split RefCOCOg, `umd` or `google` (which has no test, and shares images between train and val).
        test_splits: the sets' own splits that make the test, separated by commas.

    Raises:
        ConfigError: a set or a split is unknown.
        DataError: a file is missing, malformed or hostile, or has no reference of the split.
    """
    wanted = {"train"} if split == "train" else _listed("test_splits", test_splits, TEST_SPLITS)
    for name, references, instances in _files(raw, sets, refcoco, refcocog):
        yield from _samples_of_set(name, references, instances, wanted)


def sources(
    raw: Path,
    split: str,
    sets: str = ",".join(SETS),
    refcoco: str = "unc",
    refcocog: str = "umd",
    test_splits: str = "testA,testB,test",
) -> list[Path]:
    """The files `samples` reads; raises when one is missing."""
    return [file for _, *files in _files(raw, sets, refcoco, refcocog) for file in files]


def _files(raw: Path, sets: str, refcoco: str, refcocog: str) -> list[tuple[str, Path, Path]]:
    by = {"refcoco": refcoco, "refcoco+": "unc", "refcocog": refcocog}
    names = _listed("sets", sets, SETS)
    found = []
    for name in names:
        folder = needed(raw, (name, f"data/{name}"), f"the folder of {name}")
        references = needed(folder, (f"refs({by[name]}).p",), f"the references of {name}")
        found.append((name, references, needed(folder, ("instances.json",), f"COCO's annotations for {name}")))
    return found


def _listed(option: str, text: str, known: Sequence[str]) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"{option}={text}: {unknown[0]!r} is unknown; choose from {', '.join(known)}")
    return names


def _samples_of_set(name: str, references: Path, instances: Path, wanted: Collection[str]) -> Samples:
    by_image: dict[int, list[_Reference]] = {}
    for found in _references(references, wanted):
        if isinstance(found, Problem):
            yield found
        else:
            by_image.setdefault(found.image_id, []).append(found)
    known = _read_instances(instances, by_image)
    for group in by_image.values():
        for reference in group:
            yield from _samples_of_reference(name, reference, known, instances)


def _references(file: Path, wanted: Collection[str]) -> Iterator[_Reference | Problem]:
    """References of the wanted splits; raises DataError when there is none."""
    data = load_plain(file)
    if not isinstance(data, list):
        raise DataError(f"{file}: must hold a list of references, found {type(data).__name__}; is it another file?")
    splits: set[str] = set()
    for place, record in enumerate(data):
        found = _reference(record, f"{file} reference {place}")
        if isinstance(found, Problem):
            yield found
            continue
        splits.add(record["split"])
        if record["split"] in wanted:
            yield found
    if splits.isdisjoint(wanted):
        listed = ", ".join(sorted(splits)) or "no reference"
        raise DataError(f"{file}: has no reference of split {' or '.join(sorted(wanted))}, only {listed}")


def _reference(record: Any, where: str) -> _Reference | Problem:
    if not isinstance(record, dict):
        return Problem(f"{where}: must be an object, found {type(record).__name__}")
    kinds = {"ref_id": int, "image_id": int, "ann_id": int, "split": str, "sentences": list}
    for key, kind in kinds.items():
        if type(record.get(key)) is not kind:
            return Problem(f"{where}: {key!r} must be of type {kind.__name__}, found {record.get(key)!r:.60}")
    where = f"{where} (ref_id {record['ref_id']})"
    return _Reference(where, record["image_id"], record["ann_id"], record["sentences"])


def _read_instances(file: Path, by_image: dict[int, list[_Reference]]) -> _Instances:
    images = {}
    for record in read_array(file, "images"):
        if isinstance(record, dict) and record.get("id") in by_image and _complete(record):
            images[record["id"]] = (record["file_name"], (record["width"], record["height"]))
    needed_boxes = {reference.ann_id for group in by_image.values() for reference in group}
    boxes = {}
    for record in read_array(file, "annotations"):
        if isinstance(record, dict) and record.get("id") in needed_boxes:
            boxes[record["id"]] = (record.get("image_id"), record.get("bbox"))
    return _Instances(images, boxes)


def _complete(image: dict[str, Any]) -> bool:
    sides = (image.get("width"), image.get("height"))
    return isinstance(image.get("file_name"), str) and all(isinstance(side, int) and side > 0 for side in sides)


def _samples_of_reference(name: str, reference: _Reference, known: _Instances, file: Path) -> Samples:
    if (image := known.images.get(reference.image_id)) is None:
        yield Problem(f"{reference.where}: image_id {reference.image_id} with name and size is not in {file}")
        return
    owner, bbox = known.boxes.get(reference.ann_id, (None, None))
    if owner != reference.image_id:
        belongs = "is not in" if owner is None else f"belongs to image {owner!r:.60}, not {reference.image_id}, in"
        yield Problem(f"{reference.where}: ann_id {reference.ann_id} {belongs} {file}")
        return
    file_name, size = image
    try:
        box = corner_box(bbox, size)
    except ValueError as error:
        yield Problem(f"{file} annotation {reference.ann_id}: {error}; mend or remove it")
        return
    answer = format_box(padded_box(box, size))
    fields = {"answer_bbox": answer, "origin_answer_bbox": format_box(original_box(box, size)), "size": list(size)}
    for sentence in reference.sentences:
        if not isinstance(sentence, dict) or not isinstance(sentence.get("sent"), str) or "sent_id" not in sentence:
            yield Problem(f"{reference.where}: a sentence has no 'sent' or 'sent_id': {sentence!r:.60}")
            continue
        id_, group = f"{name}_{sentence['sent_id']}", f"{name}_{reference.image_id}"
        yield RawSample(id_, f"{IMAGES}/{file_name}", sentence["sent"], answer, group, fields)


RAW = RawTask(
    key="grounding",
    folder="Grounding",
    evaluation="test",
    samples=samples,
    sources=sources,
    images={IMAGES: PLACES},
    options=("sets", "refcoco", "refcocog", "test_splits"),
    raw_folders=("refer", "RefCOCO", "Grounding"),
    layout="{refcoco,refcoco+}/refs(unc).p, refcocog/refs(umd).p, each with instances.json; "
    "train2014/*.jpg (COCO; also found in ../COCO2014)",
)
