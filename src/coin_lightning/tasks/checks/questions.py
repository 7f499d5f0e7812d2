"""Who asks what about which image, small enough for every sample of the benchmark, and what two files share."""

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from coin_lightning.backbones.prompts import IMAGE
from coin_lightning.tasks.image_ledger import ImageFacts

Keys = NDArray[np.uint64]
ODD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 / golden ratio: spreads one key before another is mixed in."""

NO_IMAGE = -1
SEVERAL = -2
"""The first of several images together; the next ones are `SEVERAL - 1` and so on."""


@dataclass
class Questions:
    """Every question of a file: hash of its text (64 bits), sample, and what it is about: the index of an image in
    `images`, `NO_IMAGE`, or a number below that for those `together`."""

    text: "array[int]" = field(default_factory=lambda: array("Q"))
    sample: "array[int]" = field(default_factory=lambda: array("I"))
    image: "array[int]" = field(default_factory=lambda: array("i"))
    images: dict[str, int] = field(default_factory=dict)
    first_sample: "array[int]" = field(default_factory=lambda: array("I"))
    together: dict[tuple[int, ...], int] = field(default_factory=dict)

    def sample_of(self, image: str) -> int:
        """The first sample that shows an image of this file."""
        return self.first_sample[self.images[image]]

    def add(self, question: str, images: Sequence[str], sample: int) -> None:
        """Take up one question about these images, in their order."""
        self.text.append(hash64(question_body(question)))
        self.sample.append(sample)
        self.image.append(self._about([self._image(image, sample) for image in images]))

    def _image(self, image: str, sample: int) -> int:
        if image not in self.images:
            self.images[image] = len(self.images)
            self.first_sample.append(sample)
        return self.images[image]

    def _about(self, images: Sequence[int]) -> int:
        if len(images) < 2:
            return images[0] if images else NO_IMAGE
        return self.together.setdefault(tuple(images), SEVERAL - len(self.together))


@dataclass(frozen=True)
class Shared:
    """What a test file has in common with a train file: sample pairs (test, train) of questions, and images."""

    questions: list[tuple[int, int]]
    texts: list[tuple[int, int]]
    same_path: list[str]
    same_content: list[tuple[str, str]]


def hash64(text: str) -> int:
    """Blake2b, 8 bytes: among a million texts two unequal ones agree with a probability of 3e-8."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def question_body(text: str) -> str:
    """The question without image marker, case, double blanks, and instruction.

    CoIN's instruction is the last line of a text of several lines (`coin_reference.md` section 3.3).
    """
    body = text.replace(IMAGE, "").strip()
    body = body.rpartition("\n")[0].strip() or body
    return " ".join(body.casefold().split())


def contents(questions: Questions, facts: Mapping[str, ImageFacts]) -> Keys:
    """64 bits per image of a file: of its bytes where it could be decoded, else of its path."""
    keys = (
        int.from_bytes(facts[image].sha256[:8], "little") if image in facts else hash64(image)
        for image in questions.images
    )
    return np.fromiter(keys, np.uint64, len(questions.images))


def keyed(questions: Questions, content: Keys) -> tuple[Keys, NDArray[np.bool_]]:
    """One key per (question, content of its images in order), and which questions have an image."""
    text, image = np.array(questions.text, np.uint64), np.array(questions.image, np.int64)
    together = [hash64(" ".join(str(content[number]) for number in images)) for images in questions.together]
    # several images stand at the end, where negative indices find them; there is always one place for none
    known = np.concatenate([content, np.array([*reversed(together), 0], np.uint64)])
    shown = image != NO_IMAGE
    keys = text.copy()
    keys[shown] ^= known[image[shown]] * ODD
    return keys, shown


def shared(train: Questions, test: Questions, facts: Mapping[str, ImageFacts]) -> Shared:
    """Compare two files; `facts` are of the images of both."""
    train_content, test_content = contents(train, facts), contents(test, facts)
    train_keys, train_shown = keyed(train, train_content)
    test_keys, test_shown = keyed(test, test_content)
    train_samples, test_samples = np.array(train.sample, np.int64), np.array(test.sample, np.int64)
    pairs = [
        _pairs(test_keys[mine], test_samples[mine], train_keys[theirs], train_samples[theirs])
        for mine, theirs in ((test_shown, train_shown), (~test_shown, ~train_shown))
    ]
    same_path = [image for image in test.images if image in train.images]
    return Shared(pairs[0], pairs[1], same_path, _copies(train, test, train_content, test_content))


def repeated(questions: Questions, facts: Mapping[str, ImageFacts]) -> list[tuple[int, int]]:
    """Sample pairs (later, first) of equal questions about equal images within one file."""
    keys, _ = keyed(questions, contents(questions, facts))
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    earliest = first[inverse]
    later = np.nonzero(earliest != np.arange(len(keys)))[0]
    samples = np.array(questions.sample, np.int64)
    return list(zip(samples[later].tolist(), samples[earliest[later]].tolist(), strict=True))


def _pairs(
    test: Keys, test_samples: NDArray[np.int64], train: Keys, train_samples: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """(test sample, first train sample) of every test sample with a key that training has too; each once."""
    known, first = np.unique(train, return_index=True)
    hits = np.nonzero(np.isin(test, known))[0]
    partner = train_samples[first[np.searchsorted(known, test[hits])]]
    found: dict[int, int] = {}
    for mine, theirs in zip(test_samples[hits].tolist(), partner.tolist(), strict=True):
        found.setdefault(mine, theirs)
    return list(found.items())


def _copies(train: Questions, test: Questions, train_content: Keys, test_content: Keys) -> list[tuple[str, str]]:
    """(test path, train path) of images with equal bytes under different names."""
    names = list(train.images)
    place = {key: at for at, key in enumerate(train_content.tolist())}
    pairs = zip(test.images, test_content.tolist(), strict=True)
    return [(image, names[place[key]]) for image, key in pairs if key in place and image not in train.images]
