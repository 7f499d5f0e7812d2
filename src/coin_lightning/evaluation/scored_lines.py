"""Record files scored line by line, for whoever reads thousands: in a sweep most questions get the same few answers, so
that most lines have been read before and are neither parsed nor scored again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from coin_lightning import manifest
from coin_lightning.errors import DataError
from coin_lightning.evaluation.records import AnswerRecord, read_records
from coin_lightning.evaluation.scorer import RuleScorer
from coin_lightning.json_files import BROKEN
from coin_lightning.run_files import RECORDS

MOST_BYTES = 200_000_000
"""Of lines that are remembered: those of large test sets hardly come back, and must not fill the memory."""


class ScoredLine(NamedTuple):
    """An answer: question, image (a sample without one stands for itself), number of choices (0: none), and its score
    as a share of one (None: not readable)."""

    question_id: str
    image: str
    options: int
    score: float | None

    @classmethod
    def of(cls, record: AnswerRecord, score: float | None) -> "ScoredLine":
        """Of a record and its score."""
        reference = record.reference
        image = str(reference.get("image") or record.question_id)
        return cls(record.question_id, image, len(reference.get("choices") or ()), score)


@dataclass
class LineReader:
    """Remembers lines, and manifests, as long as it lives: for one page."""

    _lines: dict[int, dict[bytes, ScoredLine]] = field(default_factory=dict)
    _scorers: dict[int, RuleScorer] = field(default_factory=dict)
    _bytes: int = 0
    _manifest: Any = field(default_factory=lambda: cache(manifest.read))

    def __call__(self, file: Path, scorer: RuleScorer) -> Sequence[ScoredLine]:
        """The answers of a record file in its order.

        Raises:
            DataError: as `read_records` and the scorer.
        """
        self._scorers[id(scorer)] = scorer  # kept so that its id stays its own
        known = self._lines.setdefault(id(scorer), {})
        try:
            raw = file.read_bytes()
            raw.decode()
            found = [known.get(line) or self._new(line, scorer) for line in raw.split(b"\n") if line.strip()]
        except (FileNotFoundError, *BROKEN, DataError):
            read_records(file)  # says all that is wrong with the file
            raise
        manifest.check(file, raw, RECORDS, DataError, self._manifest)
        return found

    def _new(self, line: bytes, scorer: RuleScorer) -> ScoredLine:
        record = AnswerRecord.from_json(json.loads(line))
        found = ScoredLine.of(record, scorer.read(record))
        if self._bytes < MOST_BYTES:
            self._bytes += len(line)
            self._lines[id(scorer)][line] = found
        return found
