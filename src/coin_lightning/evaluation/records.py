"""One prediction with its reference, and the JSONL files that keep them (records/<task>.jsonl)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from coin_lightning.errors import DataError
from coin_lightning.json_files import BROKEN
from coin_lightning.manifest import check
from coin_lightning.run_files import RECORDS
from coin_lightning.whole_files import replacing


@dataclass(frozen=True)
class AnswerRecord:
    """One answer of the model.

    Args:
        task: task key, e.g. "vizwiz".
        question_id: id of the sample in its data set; unique within the task.
        prompt: the instruction as the data set has it.
        prediction: generated text, stripped of special tokens, otherwise untouched.
        reference: the data set's own fields that the scorer needs (answer, answers, choices, answer_bbox, ...).
    """

    task: str
    question_id: str
    prompt: str
    prediction: str
    reference: Mapping[str, Any]

    @classmethod
    def from_json(cls, data: object) -> "AnswerRecord":
        """Build a record from a decoded JSON line; keys other than the five fields are ignored.

        Raises:
            DataError: not an object, a field is absent or has the wrong type.
        """
        if not isinstance(data, Mapping):
            raise DataError(f"a record is a JSON object, not {type(data).__name__}")
        problems = [problem for name, kind in _KINDS.items() if (problem := _problem(data, name, kind))]
        if problems:
            raise DataError("; ".join(problems))
        return cls(**{name: data[name] for name in _KINDS})

    def to_json(self) -> dict[str, Any]:
        """Plain dict with the five fields in their order."""
        return {name: getattr(self, name) for name in _KINDS} | {"reference": dict(self.reference)}


_KINDS: dict[str, type] = {f.name: dict if f.name == "reference" else str for f in fields(AnswerRecord)}


def _problem(data: Mapping[str, Any], name: str, kind: type) -> str | None:
    if name not in data:
        return f"no field {name!r}"
    if not isinstance(data[name], kind):
        return f"field {name!r} is {type(data[name]).__name__}, not {'an object' if kind is dict else 'text'}"
    return None


def write_records(path: str | Path, records: Iterable[AnswerRecord]) -> int:
    """Write one JSON object per line and return their number; the file appears whole or not at all.

    Raises:
        DataError: a reference holds something that JSON cannot keep.
    """
    count = 0
    with replacing(Path(path)) as out:
        for record in records:
            out.write(record_line(record))
            count += 1
    return count


def record_line(record: AnswerRecord) -> str:
    """A record as its file has it; raises as `write_records`."""
    try:
        return json.dumps(record.to_json(), ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{record.task}, question {record.question_id}: the record cannot be written as JSON: {error}"
        ) from error


def read_records(path: str | Path) -> list[AnswerRecord]:
    """Read a JSONL file in its order; blank lines are skipped.

    Raises:
        DataError: the file is absent, empty, not UTF-8 or not what was written, or lines are malformed; all of them
            are listed with file and line number.
    """
    source = Path(path)
    try:
        raw = source.read_bytes()
        text = raw.decode()
    except FileNotFoundError as error:
        raise DataError(f"{source}: is missing; {RECORDS}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: not UTF-8 at byte {error.start}; {RECORDS}") from error
    records, problems = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            records.append(AnswerRecord.from_json(json.loads(line)))
        except json.JSONDecodeError as error:
            problems.append(f"{source}:{number}: not JSON ({error.msg} at column {error.colno})")
        except BROKEN as error:
            problems.append(f"{source}:{number}: not JSON ({error})")
        except DataError as error:
            problems.append(f"{source}:{number}: {error}")
    if problems:
        raise DataError([*problems[:-1], f"{problems[-1]}; {RECORDS}"])
    check(source, raw, RECORDS, DataError)
    if not records:
        raise DataError(f"{source}: holds no answers; {RECORDS}")
    return records


def merge_records(groups: Iterable[Sequence[AnswerRecord]], order: Sequence[str] | None = None) -> list[AnswerRecord]:
    """Join the records of several processes into one list without duplicates.

    A distributed sampler repeats samples to even out its shares: identical repeats are dropped, the first one stays.

    Args:
        groups: the records of each process.
        order: question ids of the data set, in its order; the result follows it. Without it: order of first appearance.

    Raises:
        DataError: one question has two different predictions, or the ids and `order` differ.
    """
    kept: dict[str, AnswerRecord] = {}
    problems: list[str] = []
    for record in (record for group in groups for record in group):
        first = kept.setdefault(record.question_id, record)
        if (first.task, first.prediction) != (record.task, record.prediction):
            problems.append(
                f"{record.task}, question {record.question_id}: two answers, {first.prediction!r} ({first.task}) and "
                f"{record.prediction!r}; the processes did not hold the same weights, evaluate again"
            )
    if order is not None:
        wanted = set(order)
        problems += [f"question {key}: answered, but not in the data set" for key in kept if key not in wanted]
        problems += [f"question {key}: in the data set, but not answered" for key in order if key not in kept]
    if problems:
        raise DataError(problems)
    return list(kept.values()) if order is None else [kept[key] for key in dict.fromkeys(order)]
