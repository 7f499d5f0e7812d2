"""Folders that a run writes to: looked at before anything is computed, and named when writing fails after all."""

import errno
from pathlib import Path

from omegaconf import DictConfig

from coin_lightning.errors import ConfigError
from coin_lightning.whole_files import unwritable

PLACES = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOSPC, errno.EDQUOT)
"""What is wrong with the place and not with the program."""


def check_places(config: DictConfig, run_path: Path) -> None:
    """Refuse folders that cannot be written to.

    Raises:
        ConfigError: names key, folder and reason, for all of them together.
    """
    places = {"paths.runs": run_path, "paths.features": Path(config.paths.features)}
    problems = [f"{key}={folder}: {reason}" for key, folder in places.items() if (reason := unwritable(folder))]
    if problems:
        raise ConfigError("\n".join(f"{problem}; name another place with {problem.split('=')[0]}=FOLDER"
                                    for problem in problems))  # fmt: skip


def unusable_place(error: OSError) -> ConfigError | None:
    """An error about a place in one line; None for all other errors."""
    if error.errno not in PLACES or error.filename is None:
        return None
    return ConfigError(
        f"{error.filename}: cannot be written or read ({error.strerror}); make room or change its rights, or name "
        "another place with paths.runs=FOLDER, paths.cache=FOLDER or paths.features=FOLDER"
    )
