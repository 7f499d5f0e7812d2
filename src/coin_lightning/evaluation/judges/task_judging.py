"""The judging of one task's answers: what is known is taken, the rest is asked once and written down as it comes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coin_lightning.errors import JudgeError
from coin_lightning.evaluation.judges.base import Judge, JudgeRequest
from coin_lightning.evaluation.judges.parsing import percent
from coin_lightning.evaluation.judges.prompts import build_messages
from coin_lightning.evaluation.judges.replies import Judged, ReplyWriter, read_replies, request_key
from coin_lightning.evaluation.records import AnswerRecord


@dataclass(frozen=True)
class TaskJudgement:
    """What a judge makes of one task's answers.

    Attributes:
        score: percent as in `parsing.percent`; None when no reply could be parsed.
        count: replies. unparsed: those without a score.
        versions: model versions that a server stated.
    """

    score: float | None
    count: int
    unparsed: int
    versions: frozenset[str]


class KnownReplies:
    """Every reply that a run folder holds, by key; read when first needed, kept up to date with `add`."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._found: dict[str, Judged] | None = None

    def get(self, key: str) -> Judged | None:
        """The reply to what has this key, if it was ever asked in this run."""
        if self._found is None:
            files = sorted(self.run.glob("task_*/judged/*/*.jsonl"))
            self._found = {line.key: line for file in files for line in read_replies(file)}
        return self._found.get(key)

    def add(self, line: Judged) -> None:
        """Remember a new one."""
        if self._found is not None:
            self._found[line.key] = line


class TaskJudging:
    """The judging of one task's answers in one experience.

    Args:
        file: `judged/<judge>/<task>.jsonl`.
        records: the answers.
        judge: who is asked. identity: its identity, which may be slow to find.
        known: replies of the whole run.

    Raises:
        DataError: a sample has no ground truth.
    """

    def __init__(
        self, file: Path, records: Sequence[AnswerRecord], judge: Judge, identity: dict[str, Any], known: KnownReplies
    ) -> None:
        self.file, self.judge, self.known = file, judge, known
        self.requests = [JudgeRequest(record, build_messages(record, judge.variant)) for record in records]
        self.keys = [request_key(identity, judge.content(request)) for request in self.requests]
        wanted = dict(zip((record.question_id for record in records), self.keys, strict=True))
        self.lines = {line.question_id: line for line in read_replies(file) if wanted.get(line.question_id) == line.key}

    def run(self, on_progress: Callable[[int, int], None]) -> TaskJudgement:
        """Ask what is not known, each content once, writing every reply down as it comes.

        Args:
            on_progress: told replies and requests, at the end once with all.

        Raises:
            JudgeError: replies are missing.
        """
        with ReplyWriter(self.file) as writer:
            self._keep(writer, list(self._known_lines()))
            for lines in self._ask():
                self._keep(writer, lines)
                if len(self.lines) < len(self.requests):
                    on_progress(len(self.lines), len(self.requests))
        on_progress(len(self.lines), len(self.requests))
        missing = len(self.requests) - len(self.lines)
        if missing:
            raise JudgeError(f"judge {self.judge.name}: {missing} of {len(self.requests)} replies did not come")
        return self.judgement()

    def judgement(self) -> TaskJudgement:
        """The result over the replies that are there. They are parsed anew, so that a mended parser takes effect."""
        lines = [self.lines[request.record.question_id] for request in self.requests]
        scores = [self.judge.parse(line.reply) for line in lines]
        versions = frozenset(line.version for line in lines if line.version)
        return TaskJudgement(percent(scores, self.judge.variant), len(scores), scores.count(None), versions)

    def _missing(self) -> Iterator[int]:
        for index, request in enumerate(self.requests):
            if request.record.question_id not in self.lines:
                yield index

    def _known_lines(self) -> Iterator[Judged]:
        for index in self._missing():
            line = self.known.get(self.keys[index])
            if line is not None:
                yield self._line(index, line.reply, line.version)

    def _ask(self) -> Iterator[list[Judged]]:
        alike: dict[str, list[int]] = {}
        for index in self._missing():
            alike.setdefault(self.keys[index], []).append(index)
        groups = list(alike.values())
        if groups:
            for reply in self.judge.judge([self.requests[group[0]] for group in groups]):
                yield [self._line(index, reply.text, reply.version) for index in groups[reply.at]]

    def _line(self, index: int, reply: str, version: str) -> Judged:
        question = self.requests[index].record.question_id
        return Judged(self.keys[index], question, reply, self.judge.parse(reply), version)

    def _keep(self, writer: ReplyWriter, lines: list[Judged]) -> None:
        if not lines:
            return
        writer.write(lines)
        self.known.add(lines[0])
        self.lines.update({line.question_id: line for line in lines})
