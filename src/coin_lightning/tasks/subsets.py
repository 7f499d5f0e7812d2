"""Which samples of a file a run uses: a drawn part, or a given list of ids."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field

from coin_lightning.errors import DataError
from coin_lightning.json_files import load_json
from coin_lightning.tasks.sample_sequence import Samples

Item = TypeVar("Item")
Fraction = Annotated[float, Field(gt=0, le=1)]


def draw(samples: Sequence[Item], fraction: float, limit: int | None, key: str) -> list[Item]:
    """A subset in the file's order; see `drawn`."""
    indices = drawn(len(samples), fraction, limit, key)
    return list(samples) if indices is None else [samples[index] for index in indices]


def drawn(count: int, fraction: float, limit: int | None, key: str) -> list[int] | None:
    """Positions of a subset in ascending order: `fraction` of the samples (at least one), at most `limit`.

    They depend on `key` and `count` only. None means all samples. CoIN's own subsets were drawn without a seed
    (`published_numbers.md` section 1.4), so nobody can draw them again.

    Raises:
        DataError: the fraction is outside (0, 1] or the limit is not positive.
    """
    if not 0 < fraction <= 1 or (limit is not None and limit < 1):
        raise DataError(f"{key}: fraction={fraction} must lie in (0, 1] and limit={limit} be null or at least 1")
    wanted = max(1, round(count * fraction))
    wanted = wanted if limit is None else min(wanted, limit)
    return None if wanted >= count else sorted(random.Random(key).sample(range(count), wanted))


def listed(samples: Samples[Any], file: Path, task: str) -> list[int]:
    """Positions of the samples whose ids a file lists, in the order of the samples.

    Args:
        samples: all samples that are evaluated.
        file: JSON `{task: [ids]}` or `[ids]`, the `subsets.json` of a run, or a text file with one id per line.
        task: key of the task.

    Raises:
        DataError: the file cannot be read or has no list for the task; ids that no sample has, or are listed twice.
    """
    ids = listed_ids(file, task)
    if ids is None:
        return list(range(len(samples)))
    place = {id_: index for index, id_ in enumerate(samples.ids)}
    problems = [f"{file}: {task} has no sample with id {id_!r}" for id_ in ids if id_ not in place]
    problems += [f"{file}: {task} lists id {id_!r} more than once" for id_ in sorted(_repeated(ids))]
    if problems:
        raise DataError(problems)
    return sorted(place[id_] for id_ in ids)


def listed_ids(file: Path, task: str) -> list[str] | None:
    """Ids that a file lists for a task (see `listed`), as text; None where it says that all samples are used."""
    content = _content(file)
    if isinstance(content, dict):
        if task not in content:
            raise DataError(f"{file}: has no list of ids for {task}, only for {', '.join(content) or 'nothing'}")
        content = content[task]
        test = content.get("test") if isinstance(content, dict) else None
        if isinstance(test, dict) and "ids" in test:
            content = test["ids"]
            if content is None:
                return None
    if not isinstance(content, list) or not content or not all(isinstance(id_, str | int) for id_ in content):
        raise DataError(f"{file}: must hold a non-empty list of ids for {task}, numbers or texts")
    return [str(id_) for id_ in content]


def _content(file: Path) -> Any:
    if file.suffix == ".json":
        return load_json(file)
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: the list of ids cannot be read ({error})") from None


def _repeated(ids: Sequence[str]) -> set[str]:
    seen: set[str] = set()
    return {id_ for id_ in ids if id_ in seen or seen.add(id_)}  # type: ignore[func-returns-value]


def subset(samples: Samples[Any], count: int) -> dict[str, Any]:
    """What `subsets.json` says of a subset: how many samples there were, and the ids of those used; null means all."""
    return {"of": count, "ids": samples.ids if len(samples) < count else None}


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Consecutive slices of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))
