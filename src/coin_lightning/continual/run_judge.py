"""Judging inside a run. A judge that fails never ends it: training and scoring go on, and judging is made up for."""

from collections.abc import Callable

from coin_lightning.continual.run_dir import RunDir
from coin_lightning.errors import CoinLightningError
from coin_lightning.evaluation.judges.base import Judge
from coin_lightning.evaluation.judges.judging import OnProgress, judge_experience, silent
from coin_lightning.run_files import read_json


class RunJudge:
    """Judges the finished experiences of a run.

    Args:
        run: the run folder.
        judge: who grades; None judges nothing.
        on_progress: told of progress: task, judged answers, all answers.
        warn: told in one text why a judgement is missing.
    """

    def __init__(
        self,
        run: RunDir,
        judge: Judge | None,
        on_progress: OnProgress = silent,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.run, self.judge, self.on_progress, self.warn = run, judge, on_progress, warn

    def experience(self, position: int) -> bool:
        """Judge the answers of one experience that has scores, and free the judge; whether nothing is missing now."""
        if self.judge is None:
            return True
        tasks = list(read_json(self.run.folder(position) / "scores.json")["scores"])
        try:
            judge_experience(self.run.folder(position), tasks, self.judge, self.on_progress)
            return True
        except CoinLightningError as error:
            self.warn(
                f"judge: {error}\nThe run goes on without this judgement; make up for it with the same command, or "
                f"with python -m coin_lightning judge {self.run.path}"
            )
            return False
        finally:
            self.judge.close()

    def missing(self) -> list[int]:
        """Scored experiences in which at least one answered task has no judgement of this judge."""
        if self.judge is None:
            return []
        found = []
        for position, scores in self.run.scores().items():
            file = self.run.folder(position) / "judged" / f"{self.judge.name}.json"
            judged = read_json(file)["counts"] if file.exists() else {}
            if set(scores["scores"]) - set(judged):
                found.append(position)
        return found

    def rest(self) -> bool:
        """Judge whatever is missing in the run, up to the first failure; whether anything was missing."""
        missing = self.missing()
        for position in missing:
            if not self.experience(position):
                break
        return bool(missing)
