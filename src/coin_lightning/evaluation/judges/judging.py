"""Judging the answers of a run, experience by experience, so that nothing is asked twice and nothing is lost.

Artefacts of an experience: `judged/<judge>/<task>.jsonl` (replies, see `replies`) and `judged/<judge>.json` (identity,
and per task score in percent, count and unparsed replies). A reply is sought in the whole run before it is asked for.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from coin_lightning.errors import ConfigError, RunError
from coin_lightning.evaluation.judges.base import PROTOCOL, Judge
from coin_lightning.evaluation.judges.summary import join_versions
from coin_lightning.evaluation.judges.task_judging import KnownReplies, TaskJudgement, TaskJudging
from coin_lightning.evaluation.records import read_records
from coin_lightning.evaluation.side_by_side import answered
from coin_lightning.manifest import write_known_json
from coin_lightning.run_files import read_json

OnProgress = Callable[[str, int, int], None]
"""(task, judged answers, all answers), called whenever a reply is on disk."""
BY_TASK = ("scores", "counts", "unparsed")
"""Parts of what a judge has found in an experience."""


def silent(task: str, done: int, total: int) -> None:
    """The report that reports nothing."""


def check_judge(run: Path, judge: Judge) -> None:
    """Refuse a judge whose name stands for another one in this run: their numbers would be mixed up.

    Raises:
        ConfigError: with the fields that differ. JudgeError: the judge's model cannot be found.
    """
    identity = judge.identity()
    for file in sorted(run.glob(f"task_*/judged/{judge.name}.json")):
        old = read_json(file)
        # a version that only replies tell is not known yet
        fields = [name for name in PROTOCOL if name != "version" or identity["version"] is not None]
        changed = [
            f"  {name}: {old.get(name)!r} -> {identity[name]!r}" for name in fields if old.get(name) != identity[name]
        ]
        if changed:
            raise ConfigError(
                f"{file}: {judge.name} has judged here as another judge:\n" + "\n".join(changed)
                + "\nGive the new one its own name with judge.name=..., or remove the old one's files."
            )  # fmt: skip


def judge_experience(
    folder: Path,
    tasks: Sequence[str],
    judge: Judge,
    on_progress: OnProgress = silent,
    known: KnownReplies | None = None,
) -> dict[str, Any]:
    """Judge `records/<task>.jsonl` of one experience; what has a reply already is not asked again.

    Args:
        folder: of the experience.
        tasks: those to judge.
        judge: who grades. It is left open: see `Judge.close`.
        on_progress: told of progress.
        known: replies of the run, when several experiences are judged in a row.

    Returns:
        the content of `judged/<judge>.json`, which is written also when an error ends the work, for the tasks that are
        complete by then.

    Raises:
        ConfigError: see `check_judge`. DataError: records are missing or broken.
        JudgeError: replies are missing; those that came are kept.
    """
    check_judge(folder.parent, judge)
    identity, started = judge.identity(), time.monotonic()
    known = known or KnownReplies(folder.parent)
    done: dict[str, TaskJudgement] = {}
    try:
        for task in tasks:
            records = read_records(folder / "records" / f"{task}.jsonl")
            judging = TaskJudging(folder / "judged" / judge.name / f"{task}.jsonl", records, judge, identity, known)
            done[task] = judging.run(lambda count, total, task=task: on_progress(task, count, total))  # type: ignore[misc]
    finally:
        summary = _summarise(folder / "judged" / f"{judge.name}.json", identity, done, time.monotonic() - started)
    return summary


def _summarise(file: Path, identity: dict[str, Any], done: dict[str, TaskJudgement], seconds: float) -> dict[str, Any]:
    old = read_json(file) if file.exists() else {}
    stated = join_versions(version for judgement in done.values() for version in judgement.versions)
    summary = {
        **identity,
        "version": identity["version"] or stated,
        "scores": {task: judgement.score for task, judgement in done.items()},
        "counts": {task: judgement.count for task, judgement in done.items()},
        "unparsed": {task: judgement.unparsed for task, judgement in done.items()},
    }
    if old and summary == {name: value for name, value in old.items() if name != "seconds"}:
        return old
    summary["seconds"] = old.get("seconds", 0.0) + seconds
    if done:
        write_known_json(file, summary, file.parent.parent)
    return summary


def forget(folder: Path, tasks: Iterable[str]) -> None:
    """Take tasks that are answered anew out of what judges have found in an experience. Replies stay: an answer that is
    the same is not judged again.
    """
    anew = set(tasks)
    for file in sorted((folder / "judged").glob("*.json")):
        old = read_json(file)
        left = {part: {task: old[part][task] for task in old[part] if task not in anew} for part in BY_TASK}
        if left["counts"] != old["counts"]:
            write_known_json(file, {**old, **left}, folder)


def judge_run(run: Path, judge: Judge, on_progress: OnProgress = silent) -> list[Path]:
    """`judge_experience` for every evaluated experience of a run, finished or not; the judge is closed at the end.

    Returns:
        the experiences' folders.

    Raises:
        RunError: there is none. Else as `judge_experience`.
    """
    folders = evaluated(run)
    known = KnownReplies(run)
    try:
        for folder in folders:
            judge_experience(folder, answered(read_json(folder / "scores.json")), judge, on_progress, known)
    finally:
        judge.close()
    return folders


def evaluated(run: Path) -> list[Path]:
    """Folders of the experiences that have answers and scores.

    Raises:
        RunError: there is none.
    """
    files = sorted(run.glob("task_*/scores.json"))
    folders = [file.parent for file in files if answered(read_json(file))]
    if not folders:
        what = "only scores, no answers" if files else "no task_*/scores.json"
        raise RunError(f"{run}: nothing to judge, {what}; give the folder of a run that has been evaluated")
    return folders
