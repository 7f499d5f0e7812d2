"""Everything about a task's files that should be known before a run: `verify_task` gives one report per task.

Samples are read once and not kept; every image is decoded, in parallel, unless the ledger knows it. Whatever the files
hold, the answer is a report: a file that cannot be used is an error in it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from coin_lightning.backbones.base import Backbone
from coin_lightning.errors import DataError
from coin_lightning.tasks.base import InstructionTask
from coin_lightning.tasks.checks.answers import answer_tokens, balance, lengths
from coin_lightning.tasks.checks.boxes import check_boxes
from coin_lightning.tasks.checks.findings import ERROR, EXAMPLES, NOTE, WARNING, Findings
from coin_lightning.tasks.checks.questions import Shared, repeated, shared
from coin_lightning.tasks.checks.scan import Scan, Scanner, given_answer
from coin_lightning.tasks.expected_counts import Expected, expected_counts
from coin_lightning.tasks.image_ledger import ImageLedger, Survey
from coin_lightning.tasks.reference_fields import Reference
from coin_lightning.tasks.sample_format import TestSample
from coin_lightning.tasks.sample_sequence import SampleFile, Samples
from coin_lightning.tasks.sample_table import Problems
from coin_lightning.tasks.samples import scan_test, scan_train

Unusable = Callable[[str, Sequence[TestSample], Sequence[Reference]], list[str]]
SPLITS = ("train", "test")
SHOWN = 6
"""Samples per file that the page shows."""


@dataclass
class TaskReport:
    """All findings and figures of one task, ready for JSON.

    Attributes:
        files: train and test file; `counts` and `expected` are samples in them.
        images: distinct images, how many are sound, samples without one.
        balance, lengths: per split, see `tasks/checks/answers.py`; missing for a file that could not be read.
        shown: samples to show.
    """

    task: str
    image_root: str
    files: dict[str, str]
    max_new_tokens: int
    counts: dict[str, int | None] = field(default_factory=dict)
    expected: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    balance: dict[str, Any] = field(default_factory=dict)
    lengths: dict[str, Any] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)
    levels: dict[str, int] = field(default_factory=dict)


def verify_task(
    task: InstructionTask,
    backbone: Backbone,
    ledger: ImageLedger,
    published: bool = False,
    tolerate: Collection[str] = (),
    workers: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    unusable: Unusable = lambda task, samples, references: [],
) -> TaskReport:
    """Check one task.

    Args:
        task: says where its files lie; the whole files are checked, not a subset.
        backbone: counts tokens; it needs no weights.
        ledger: knows which images are sound.
        published: compare the number of samples with published ones.
        tolerate: kinds of errors that count as warnings (`tasks/checks/findings.py`).
        workers: threads that decode images.
        on_progress: gets images done and their total.
        unusable: tells which references no rule can use (`evaluation.usable_references`, a layer above this one).

    Raises:
        ConfigError: `tolerate` names no kind of error.
    """
    return _Verification(task, backbone, Findings(tolerate), unusable).run(ledger, published, workers, on_progress)


class _Verification:
    """One call of `verify_task`."""

    def __init__(self, task: InstructionTask, backbone: Backbone, findings: Findings, unusable: Unusable) -> None:
        self.task, self.backbone, self.findings, self.unusable = task, backbone, findings, unusable
        self.files = {"train": task.train_file, "test": task.test_file}
        self.scans: dict[str, Scan] = {}
        self._tests: Samples[TestSample] = Samples([])

    def run(
        self, ledger: ImageLedger, published: bool, workers: int | None, on_progress: Callable[[int, int], None]
    ) -> TaskReport:
        files = {split: str(file) for split, file in self.files.items()}
        made = TaskReport(self.task.name, str(self.task.image_root), files, self.task.answers.max_new_tokens)
        self._read()
        made.counts = {split: scan.samples if (scan := self.scans.get(split)) else None for split in SPLITS}
        made.expected = self._count(published)
        made.images = self._images(ledger, workers, on_progress)
        self._answers(made)
        made.shown = [entry for scan in self.scans.values() for entry in scan.shown]
        made.findings = [{**asdict(finding), "text": finding.text} for finding in self.findings.listed()]
        made.levels = {level: self.findings.count(level) for level in (ERROR, WARNING, NOTE)}
        return made

    def _read(self) -> None:
        # an encoder of texts as in a run, but no tower is asked for features
        self.task.data = replace(self.task.data, cache_features=False)
        self.task.connect(self.backbone)
        encoder = self.task.encoder
        scanner = Scanner(encoder, encoder.room(self.task.answers.max_new_tokens), self.findings, SHOWN)
        self._scan(scanner, "test", None)
        if self.task.data.trains:
            self._scan(scanner, "train", "test" in self.scans and self.scans["test"].has_boxes)
        self.scans = {split: self.scans[split] for split in SPLITS if split in self.scans}
        if "test" in self.scans:
            self._truth()
        if len(self.scans) == len(SPLITS):
            self._shared_ids()

    def _scan(self, scanner: Scanner, split: str, has_boxes: bool | None) -> None:
        try:
            samples, problems = self._read_samples(split)
        except DataError as error:
            self.findings.add_all("samples", split, len(error.problems), error.problems)
            self.findings.add("not_checked", split, f"{self.files[split]}: its samples could not be read")
            return
        self.scans[split] = scanner.scan(split, samples, problems, has_boxes)
        for name, count in samples.unread.most_common():
            self.findings.add("unread_field", split, f"{self.files[split]}: {name!r} in {count} samples", count)
        if split == "test":
            self._tests = Samples([samples]).select([at for at in range(len(samples)) if at not in problems])

    def _read_samples(self, split: str) -> tuple[SampleFile[Any], Problems]:
        task = self.task
        if split == "test":
            source = task.source.samples(task.directory, task.data.instructions, task.data.test_split)
            return scan_test(source, task.image_root, cache=task.features)
        source = task.source.samples(task.directory, task.data.instructions, "train")
        return scan_train(source, task.image_root, task.data.repeated_train_ids, cache=task.features)

    def _truth(self) -> None:
        tests = self._tests
        try:
            references = self.task.truth(tests, self.task.image_root)
        except DataError as error:
            self.findings.add_all("truth", "test", len(error.problems), error.problems)
            return
        lines = self.unusable(self.task.name, tests, references)
        self.findings.add_all("truth", "test", len(lines), lines)
        for sample, reference in zip(tests, references, strict=True):
            stated, true = given_answer(sample).strip(), str(reference.get("answer", "")).strip()
            if "answer_bbox" not in sample.fields and stated and stated.casefold() != true.casefold():
                self.findings.add("truth_differs", "test", f"{sample.where}: {stated!r}, truth {true!r}")

    def _shared_ids(self) -> None:
        train, test = (np.array(self.scans[split].ids, np.uint64) for split in SPLITS)
        both = np.nonzero(np.isin(test, train))[0].tolist()
        samples = self.scans["test"].id_samples
        examples = [
            f"{self.files['test']} sample {samples[at]}: its id is in train.json, too" for at in both[:EXAMPLES]
        ]
        self.findings.add_all("shared_id", "test", len(both), examples)

    def _count(self, published: bool) -> dict[str, list[dict[str, Any]]]:
        root = self.task.test_file.parents[2]  # <root>/<instructions>/<Task>/test.json
        try:
            known = expected_counts(self.task.name, self.files, root, published)
        except DataError as error:
            self.findings.add_all("count", "", len(error.problems), error.problems)
            return {split: [] for split in SPLITS}
        for split, scan in self.scans.items():
            if kind := count_problem(scan.samples, known[split]):
                wanted = ", ".join(f"{each.count} ({each.source})" for each in known[split])
                self.findings.add(kind, split, f"{self.files[split]}: {scan.samples} samples; expected {wanted}")
        return {
            split: [
                {**asdict(each), "agrees": split in self.scans and each.agrees(self.scans[split].samples)}
                for each in entries
            ]
            for split, entries in known.items()
        }

    def _images(
        self, ledger: ImageLedger, workers: int | None, on_progress: Callable[[int, int], None]
    ) -> dict[str, int]:
        images = list(dict.fromkeys(image for scan in self.scans.values() for image in scan.questions.images))
        done = 0

        def advance(step: int) -> None:
            nonlocal done
            done += step
            on_progress(done, len(images))

        survey = ledger.survey(self.task.image_root, images, workers, advance)
        for split, scan in self.scans.items():
            self._broken(split, scan, survey)
            check_boxes(scan.boxes, survey.facts, self.files[split], self.findings)
            self._repeated(split, scan, survey)
        if len(self.scans) == len(SPLITS):
            self._leaks(shared(self.scans["train"].questions, self.scans["test"].questions, survey.facts))
        without = {f"{split}_without": scan.without_image for split, scan in self.scans.items()}
        for split, scan in self.scans.items():
            if images and scan.without_image:
                line = f"{self.files[split]}: {scan.without_image} of {scan.samples} samples"
                self.findings.add("no_image", split, line, scan.without_image)
        return {"distinct": len(images), "sound": len(survey.facts), **without}

    def _broken(self, split: str, scan: Scan, survey: Survey) -> None:
        for image, text in survey.problems.items():
            if image in scan.questions.images:
                sample = scan.questions.sample_of(image)
                self.findings.add("image", split, f"{self.files[split]} sample {sample}: {text}")
        for image, text in survey.warned.items():
            if image in scan.questions.images:
                sample = scan.questions.sample_of(image)
                self.findings.add("image_warning", split, f"{self.files[split]} sample {sample}: {image}: {text}")

    def _repeated(self, split: str, scan: Scan, survey: Survey) -> None:
        pairs = repeated(scan.questions, survey.facts)
        examples = [f"{self.files[split]} sample {later}: as in sample {first}" for later, first in pairs[:EXAMPLES]]
        self.findings.add_all("repeated_question", split, len(pairs), examples)

    def _leaks(self, found: Shared) -> None:
        train, test = self.files["train"], self.files["test"]
        for kind, pairs in (("shared_question", found.questions), ("shared_text", found.texts)):
            examples = [f"{test} sample {mine}: as {train.name} sample {theirs}" for mine, theirs in pairs[:EXAMPLES]]
            self.findings.add_all(kind, "test", len(pairs), examples)
        questions = self.scans["test"].questions
        lines = [f"{test} sample {questions.sample_of(image)}: {image}" for image in found.same_path[:EXAMPLES]]
        for image, other in found.same_content[:EXAMPLES]:
            lines.append(f"{test} sample {questions.sample_of(image)}: {image} has the bytes of {other}")
        self.findings.add_all("shared_image", "test", len(found.same_path) + len(found.same_content), lines)

    def _answers(self, made: TaskReport) -> None:
        distinct = list(dict.fromkeys(text for scan in self.scans.values() for text in scan.answers))
        tokens = dict(zip(distinct, answer_tokens(self.backbone, distinct), strict=True))
        limit = self.task.answers.max_new_tokens
        known = self.scans["train"].answers if "train" in self.scans else None
        for split, scan in self.scans.items():
            areas = scan.boxes.areas().tolist() if scan.has_boxes else None
            made.balance[split] = asdict(balance(scan.answers, known if split == "test" else None, areas))
            made.lengths[split] = asdict(lengths(tokens, scan.answers, limit))
            over = [(tokens[text], text) for text in scan.answers if tokens[text] > limit]
            lines = [
                f"{self.files[split]} sample {scan.answer_sample[text]}: {size} tokens, max_new_tokens={limit}: "
                f"{text[:80]!r}"
                for size, text in sorted(over, reverse=True)[:EXAMPLES]
            ]
            self.findings.add_all("long_answer", split, made.lengths[split]["over"], lines)


def count_problem(found: int, known: Sequence[Expected]) -> str | None:
    """Kind of finding for a number of samples, or None when it agrees with one of the surest statements, or none is.

    What was recorded when the data was built outweighs exact published numbers, and those outweigh round ones.
    """
    built = [each for each in known if each.certainty == "built"]
    exact = [each for each in known if not each.rounded]
    for kind, statements in (("count", built), ("published_count", exact), ("rounded_count", known)):
        if statements:
            agreed = any(each.agrees(found) for each in (statements if kind == "count" else known))
            return None if agreed else kind
    return None
