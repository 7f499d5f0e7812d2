"""What a W&B run is given: every step once and in order, however often the run is killed and goes on.

W&B keeps values in memory for a while, and a kill of all processes leaves an empty file. So each step also goes to a
journal, line by line. A start looks how far W&B's own files (offline) or the server (online) got, gives the rest of
the journal and the rows of the matrix behind it, and leaves out what is trained a second time.

W&B's own step must grow, and tells two values at the same place apart: with `p` experiences done before, optimizer step
`s` of the sequence is step `s + p` there, and row `k` of the matrix comes right behind the last step of its training.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

JOURNAL = "wandb_history.jsonl"
OPEN = "wandb_open"
"""Empty file beside the journal: a process has begun to give, and has not ended in good order."""


def own_step(sequence_step: int, position: int) -> int:
    """W&B's step of optimizer step `sequence_step` (0-based) in experience `position`, or of the row behind it.

    Args:
        sequence_step: steps taken since the start of the sequence.
        position: of the experience; for a row, its number.
    """
    return sequence_step + position


def is_open(run_dir: Path) -> bool:
    """Whether W&B may lack something of a run that was killed."""
    return (run_dir / "logs" / OPEN).exists()


class History:
    """Steps of one W&B run.

    Args:
        run: of wandb.
        journal: file that keeps them.
        given: the last step that W&B has.
    """

    def __init__(self, run: Any, journal: Path, given: int) -> None:
        self.run, self.journal, self.given = run, journal, given
        self._step, self._values = given, dict[str, Any]()

    def add(self, values: Mapping[str, Any], step: int | None) -> None:
        """Values of a step, which is complete when a later one comes; those of None go with it, or with the first."""
        if step is None or step == self._step:
            self._values |= values
        elif step > self.given:
            if self._step > self.given:
                self.flush(complete=True)
            self._step = step
            self._values |= values

    def flush(self, complete: bool = False) -> None:
        """Give what was added; `complete` when nothing more can come for the step."""
        if self._step <= self.given:
            return
        if self._values:
            self._write(self._values)
        if self._values or complete:
            self.run.log(self._values, step=self._step, commit=complete or None)
        self._values = {}

    def add_row(self, row: Callable[[], Mapping[str, Any]], step: int) -> None:
        """A row of the matrix, which the run's other files keep; not even made when W&B has it."""
        if step > self.given:
            self.flush(complete=True)
            self._give(row(), step)

    def catch_up(self, rows: Mapping[int, Callable[[], Mapping[str, Any]]]) -> None:
        """Give what W&B lost with an earlier process.

        Args:
            rows: by step, what makes the values of a row.
        """
        self.journal.with_name(OPEN).touch()
        kept = read_journal(self.journal)
        for step in sorted({*kept, *rows}):
            if step > self.given:
                self._give(rows[step]() if step in rows else kept[step], step)

    def close(self) -> None:
        """Say that everything was given."""
        self.journal.with_name(OPEN).unlink(missing_ok=True)

    def _give(self, values: Mapping[str, Any], step: int) -> None:
        self.run.log(dict(values), step=step, commit=True)
        self.given = self._step = step
        self._values = {}

    def _write(self, values: Mapping[str, Any]) -> None:
        kept = {key: value for key, value in values.items() if isinstance(value, int | float | str)}
        with self.journal.open("a", encoding="utf-8") as stream:
            stream.write("\n" + json.dumps({"step": self._step, "values": kept}))  # behind a line that was cut, too


def read_journal(file: Path) -> dict[int, dict[str, Any]]:
    """Values by step; a line that a kill has cut is left out."""
    found: dict[int, dict[str, Any]] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        with suppress(ValueError):
            content = json.loads(line)
            found.setdefault(content["step"], {}).update(content["values"])
    return found
