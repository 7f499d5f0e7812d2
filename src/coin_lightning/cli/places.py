"""Folders that a run writes to: looked at before anything is computed, and named when writing fails after all."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from coin_lightning.errors import ConfigError
from coin_lightning.whole_files import unwritable

PLACES = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOSPC, errno.EDQUOT)
"""What is wrong with the place and not with the program."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Of these, what libraries hand on in errors of their own."""
RUST = re.compile(r"\(os error (\d+)\)")
"""How safetensors tells a number."""


def check_places(config: DictConfig, run_path: Path) -> None:
    """Refuse folders that cannot be written to; of features one that is there will do while it lacks none.

    Raises:
        ConfigError: names key, folder and reason, for all of them together.
    """
    features = Path(config.paths.features)
    places = {"paths.runs": run_path, **({} if features.is_dir() else {"paths.features": features})}
    problems = [f"{key}={folder}: {reason}" for key, folder in places.items() if (reason := unwritable(folder))]
    if problems:
        raise ConfigError("\n".join(f"{problem}; name another place with {problem.split('=')[0]}=FOLDER"
                                    for problem in problems))  # fmt: skip


def unusable_place(error: BaseException) -> ConfigError | None:
    """An error about a place in one line; None for all other errors.

    Libraries write through streams that do not know their file, and in errors of their own: a disk that is full or
    cannot be written to is then told without its name.
    """
    if isinstance(error, OSError) and error.errno in PLACES and error.filename is not None:
        return _told(error.filename, error.strerror)
    number = next(filter(None, map(_number, _behind(error))), None)
    return None if number is None else _told("a file that is being written", os.strerror(number))


def _behind(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from or in the handling of."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _number(error: BaseException) -> int | None:
    from safetensors import SafetensorError  # only where something went wrong

    found = RUST.search(str(error)) if isinstance(error, SafetensorError) else None
    number = int(found.group(1)) if found else getattr(error, "errno", None)
    return number if number in FULL else None


def _told(what: str, reason: str | None) -> ConfigError:
    return ConfigError(
        f"{what}: cannot be written or read ({reason}); make room or change its rights, or name another place with "
        "paths.runs=FOLDER, paths.cache=FOLDER or paths.features=FOLDER. What was finished is kept: the same command "
        "goes on from there"
    )
