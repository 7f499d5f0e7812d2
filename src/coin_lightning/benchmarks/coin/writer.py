"""Samples in CoIN's layout (`coin_reference.md` section 3.2), written one per line beside the file they replace."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from coin_lightning.benchmarks.coin.raw_sample import RawSample
from coin_lightning.benchmarks.coin.screening import IMAGE_TOKEN
from coin_lightning.benchmarks.coin.templates import Instructions


def train_sample(turns: Sequence[RawSample], instructions: Instructions, type_: str, seed: int) -> dict[str, Any]:
    """A conversation; its id is the group's name, or that of its only sample."""
    first = turns[0]
    sample: dict[str, Any] = {"id": str(first.id) if first.group is None else first.group}
    sample |= _image(first)
    conversations = []
    for place, turn in enumerate(turns):
        asked = place == 0 or instructions.every_turn
        text = instructions.text(type_, turn, seed) if asked else turn.question.strip()
        text = f"{IMAGE_TOKEN}\n{text}" if place == 0 and first.image is not None else text
        conversations.append({"from": "human", "value": text})
        conversations.append({"from": "gpt", "value": turn.answer.strip()})
    return sample | {"conversations": conversations}


def test_sample(sample: RawSample, instructions: Instructions, type_: str, seed: int) -> dict[str, Any]:
    """A question to answer; boxes stand in ``answer_bbox`` and its companions, all else in ``answer``."""
    written = {"question_id": sample.id, **_image(sample), "text": instructions.text(type_, sample, seed)}
    if "answer_bbox" not in sample.fields:
        written["answer"] = sample.answer.strip()
    return written | dict(sample.fields)


test_sample.__test__ = False  # type: ignore[attr-defined]  # not a test, though pytest might think so by its name


def _image(sample: RawSample) -> dict[str, str]:
    return {} if sample.image is None else {"image": f"./{sample.image}"}


class SampleFile:
    """A JSON list that grows sample by sample beside ``file`` and takes its place when the block ends without an error.

    Attributes:
        samples: how many were written; sha256, bytes: of what was written.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.beside = file, file.with_name(f".{file.name}.part")
        self.samples = self.bytes = 0
        self._digest = hashlib.sha256()

    def __enter__(self) -> "SampleFile":
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._opened = self.beside.open("wb")
        return self

    def write(self, sample: dict[str, Any]) -> None:
        """Append one sample."""
        self._put((b",\n" if self.samples else b"[\n") + json.dumps(sample).encode())
        self.samples += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._put(b"\n]\n" if self.samples else b"[]\n")
            self._opened.flush()
            os.fsync(self._opened.fileno())
        self._opened.close()
        if kind is None:
            os.replace(self.beside, self.file)
        else:
            self.beside.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """Hexadecimal, of the bytes so far."""
        return self._digest.hexdigest()

    def _put(self, text: bytes) -> None:
        self._opened.write(text)
        self._digest.update(text)
        self.bytes += len(text)
