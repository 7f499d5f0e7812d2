"""The steps that reach W&B, whatever is killed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coin_lightning.reporting.wandb_history import History, is_open, own_step, read_journal


class Service:
    """Keeps what is committed, as W&B does: with a later step, or when it is asked to."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.open: dict[str, Any] = {}
        self.step = -1

    def log(self, values: Mapping[str, Any], step: int, commit: bool | None = None) -> None:
        assert step >= self.step, "W&B leaves out what comes too late"
        if step > self.step:
            self._commit()
        self.step = step
        self.open |= values
        if commit:
            self._commit()

    def _commit(self) -> None:
        if self.open:
            assert self.step not in self.rows, "twice"
            self.rows[self.step], self.open = self.open, {}


def test_rows_and_steps_have_places_of_their_own() -> None:
    """Two tasks of three steps: row 0, steps 0-2, row 1, steps 3-5, row 2."""
    steps = [own_step(0, 0), *(own_step(s, 1) for s in range(3)), own_step(3, 1)]
    steps += [*(own_step(s, 2) for s in range(3, 6)), own_step(6, 2)]
    assert steps == list(range(9))


def test_a_step_is_given_when_it_is_complete(tmp_path: Path) -> None:
    service = Service()
    history = History(service, tmp_path / "journal", -1)
    history.add({"epoch": 0}, None)
    history.add({"lr": 1.0}, 1)
    history.add({"loss": 3.0}, 1)
    assert service.rows == {}
    history.add({"loss": 2.0}, 2)
    assert service.rows == {1: {"epoch": 0, "lr": 1.0, "loss": 3.0}}
    history.flush()
    history.add({"loss": 2.0}, 2)  # again
    history.add_row(lambda: {"score": 50.0}, 3)
    history.add_row(lambda: 1 / 0, 3)  # type: ignore[arg-type, return-value]
    history.add({"loss": 9.0}, 2)  # trained again
    assert service.rows == {1: {"epoch": 0, "lr": 1.0, "loss": 3.0}, 2: {"loss": 2.0}, 3: {"score": 50.0}}
    assert read_journal(tmp_path / "journal") == {1: {"epoch": 0, "lr": 1.0, "loss": 3.0}, 2: {"loss": 2.0}}


def test_the_next_process_gives_what_was_lost(tmp_path: Path) -> None:
    first = History(Service(), tmp_path / "journal", -1)
    first.catch_up({})
    assert not is_open(tmp_path.parent)
    for step in range(1, 5):
        first.add({"loss": float(step)}, step)
    with (tmp_path / "journal").open("a") as stream:
        stream.write('\n{"step": 4, "val')  # killed while it wrote
    service = Service()
    second = History(service, tmp_path / "journal", 1)  # W&B had step 1
    second.catch_up({0: lambda: {"score": 1}})
    assert service.rows == {2: {"loss": 2.0}, 3: {"loss": 3.0}}
    second.add({"loss": 3.0}, 3)
    second.add({"loss": 4.0}, 4)
    second.add_row(lambda: {"score": 2}, 5)
    assert service.rows == {2: {"loss": 2.0}, 3: {"loss": 3.0}, 4: {"loss": 4.0}, 5: {"score": 2}}
    assert sorted(read_journal(tmp_path / "journal")) == [1, 2, 3, 4]
    third = Service()
    History(third, tmp_path / "journal", -1).catch_up({0: lambda: {"score": 1}, 5: lambda: {"score": 2}})
    assert list(third.rows) == [0, 1, 2, 3, 4, 5]
