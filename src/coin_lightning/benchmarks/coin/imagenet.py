"""CoIN's ImageNet part from ILSVRC2012: folders of training images, validation images as the test, 100 classes.

Which 100 classes CoIN took is not published, so they are drawn with the seed, or read from a list. A label is the
first synonym of the class list with only its first letter large ("Dandie dinmont", `coin_reference.md` section 3.1).
Labels are drawn, not folders: "crane" and "maillot" each name two folders, which then both belong to the one label.
CoIN's 5,050 test samples are 101 times the 50 validation images of a folder, so its 100 names may include one of these
two; its 129,833 training samples fit 101 folders as well (1,281 images each on average).
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

from coin_lightning.benchmarks.coin.raw_sample import Problem, RawSample, RawTask, Samples, first_of, needed
from coin_lightning.errors import ConfigError, DataError

QUESTION = "What is the object in the image?"
IMAGES = "ImageNet_withlabel"
PLACES = {
    "train": ("train", "ILSVRC/Data/CLS-LOC/train", f"{IMAGES}/train"),
    "val": ("val", "ILSVRC/Data/CLS-LOC/val", f"{IMAGES}/val"),
}
NAMES = ("LOC_synset_mapping.txt", "synset_words.txt")
SOLUTION = ("LOC_val_solution.csv",)
NUMBERS = ("ILSVRC2012_validation_ground_truth.txt", "data/ILSVRC2012_validation_ground_truth.txt")
NUMBERED = ("map_clsloc.txt", "data/map_clsloc.txt")
_CLASS = re.compile(r"(n\d{8})(?:\s+(\S.*))?")
_SUFFIXES = (".jpeg", ".jpg", ".png")


def samples(raw: Path, split: str, classes: str = "100", seed: int = 0) -> Samples:
    """Samples of a split, class after class; the id is the image's file name.

    Args:
        raw: holds `LOC_synset_mapping.txt`, `train/<wnid>/` and `val/<wnid>/`; or a flat `val/` with
            `LOC_val_solution.csv`, or with `ILSVRC2012_validation_ground_truth.txt` and the kit's `map_clsloc.txt`.
        split: `train` or `test` (which is val).
        classes: how many labels to draw, or a file with a wnid on each line, with a label after it if it is to differ.
        seed: of the draw.

    Raises:
        ConfigError: `classes` is neither a number that fits nor a file.
        DataError: a file is missing or malformed, or a listed class is unknown.
    """
    labels = chosen(raw, classes, seed)
    folder = needed(raw, PLACES[_folder(split)], f"the images of {_folder(split)}")
    if split != "train" and not any((folder / wnid).is_dir() for wnid in labels):
        yield from _flat(raw, labels)
        return
    for wnid, label in labels.items():
        yield from _class_samples(folder / wnid, f"{IMAGES}/{_folder(split)}/{wnid}", label)


def sources(raw: Path, split: str, classes: str = "100", seed: int = 0) -> list[Path]:
    """The text files `samples` reads (images are not among them); raises when one is missing."""
    found = [needed(raw, NAMES, "the list of class names")]
    if not classes.isdigit():
        found.append(_list_file(classes))
    folder = needed(raw, PLACES[_folder(split)], f"the images of {_folder(split)}")
    if split != "train" and not any((folder / wnid).is_dir() for wnid in chosen(raw, classes, seed)):
        found += _truth_files(raw)
    return found


def chosen(raw: Path, classes: str, seed: int) -> dict[str, str]:
    """The classes, wnid -> label, in the order of wnids; raises as `samples`."""
    file = needed(raw, NAMES, "the list of class names")
    known = {wnid: _label(name) for wnid, name in _lines(file)}
    if not classes.isdigit():
        return _listed(_list_file(classes), known)
    labels = sorted(set(known.values()))
    if not 1 <= int(classes) <= len(labels):
        raise ConfigError(f"classes={classes}: {file} has {len(labels)} labels; take 1 to {len(labels)}")
    drawn = set(Random(f"{seed}/imagenet/classes").sample(labels, int(classes)))
    return {wnid: label for wnid, label in sorted(known.items()) if label in drawn}


def _folder(split: str) -> str:
    return "train" if split == "train" else "val"


def _label(names: str) -> str:
    return names.split(",")[0].strip().capitalize()


def _list_file(classes: str) -> Path:
    if not (file := Path(classes)).is_file():
        raise ConfigError(f"classes={classes}: is neither a number nor a file with a wnid on each line")
    return file


def _listed(file: Path, known: dict[str, str]) -> dict[str, str]:
    listed = dict(_lines(file))
    if unknown := [wnid for wnid in listed if wnid not in known]:
        raise DataError([f"{file}: class {wnid} is not in the list of class names" for wnid in unknown])
    return {wnid: label or known[wnid] for wnid, label in sorted(listed.items())}


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """(wnid, what follows it) of a file's lines, which must all begin with a wnid."""
    problems = []
    for number, line in enumerate(_text(file).splitlines(), 1):
        if found := _CLASS.fullmatch(line.strip()):
            yield found[1], found[2] or ""
        elif line.strip():
            problems.append(f"{file} line {number}: must begin with a wnid such as n01440764, found {line[:60]!r}")
    if problems:
        raise DataError(problems)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as text ({error}); fetch it again") from None


def _class_samples(folder: Path, image: str, label: str) -> Samples:
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    names = [name for name in names if name.lower().endswith(_SUFFIXES)]
    if not names:
        yield Problem(f"{folder}: no image of class {folder.name} ({label}); unpack the class or leave it out")
    for name in names:
        yield RawSample(name, f"{image}/{name}", QUESTION, label)


def _truth_files(raw: Path) -> list[Path]:
    """The validation labels of a flat folder: the solution, or the numbers with what they number."""
    if (solution := first_of(raw, SOLUTION)) is not None:
        return [solution]
    what = "the labels of the flat folder val (or folders val/<wnid>)"
    numbers = needed(raw, (*NUMBERS, *SOLUTION), what)
    return [numbers, needed(raw, NUMBERED, "the numbering of classes that ILSVRC2012_validation_ground_truth.txt uses")]


def _flat(raw: Path, labels: dict[str, str]) -> Samples:
    files = _truth_files(raw)
    found = _solution(files[0]) if len(files) == 1 else _numbered(*files)
    missing = dict(labels)
    for name, wnid, where in found:
        if not _CLASS.fullmatch(wnid):
            yield Problem(f"{where}: {wnid[:60]!r} is no class; fetch the file again")
        elif wnid in labels:
            missing.pop(wnid, None)
            yield RawSample(f"{name}.JPEG", f"{IMAGES}/val/{name}.JPEG", QUESTION, labels[wnid])
    for wnid, label in missing.items():
        yield Problem(f"{files[0]}: no image of class {wnid} ({label}); fetch the file again or leave the class out")


def _solution(file: Path) -> Iterator[tuple[str, str, str]]:
    """(image, wnid, where) of `ImageId,PredictionString` lines; the string begins with the wnid."""
    lines = csv.reader(_text(file).splitlines())
    if next(lines, None) != ["ImageId", "PredictionString"]:
        raise DataError(f"{file}: must begin with ImageId,PredictionString; is it another file?")
    for number, fields in enumerate(lines, 2):
        name, truth = fields if len(fields) == 2 else ("", "")
        yield name, (truth.split() or [""])[0], f"{file} line {number}"


def _numbered(file: Path, numbering: Path) -> Iterator[tuple[str, str, str]]:
    """(image, wnid, where): line n holds the class number of image n; `map_clsloc.txt` says `wnid number name`."""
    wnids = {rest.split()[0]: wnid for wnid, rest in _lines(numbering) if rest}
    for number, line in enumerate(_text(file).splitlines(), 1):
        yield f"ILSVRC2012_val_{number:08d}", wnids.get(line.strip(), line.strip()), f"{file} line {number}"


RAW = RawTask(
    key="imagenet",
    folder="ImageNet",
    evaluation="test",
    samples=samples,
    sources=sources,
    images={f"{IMAGES}/{name}": places for name, places in PLACES.items()},
    options=("classes", "seed"),
    raw_folders=("ImageNet", "imagenet"),
    layout="LOC_synset_mapping.txt, train/<wnid>/*.JPEG, val/<wnid>/*.JPEG (or flat val with LOC_val_solution.csv)",
    lists_images=True,
)
