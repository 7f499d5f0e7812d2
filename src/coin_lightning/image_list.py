"""`images.sha256` beside a data set: what its images must hold, a line each as `sha256sum` writes and checks it."""

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from coin_lightning.errors import DataError
from coin_lightning.whole_files import write_text

NAME = "images.sha256"
LINE = re.compile(r"([0-9a-f]{64})[ ][ *](.+)")


def write_list(root: Path, digests: Mapping[str, str]) -> None:
    """Write the list of a data root: path below it -> sha256."""
    write_text(root / NAME, "".join(f"{digest}  {path}\n" for path, digest in digests.items()))


def read_list(root: Path, images: str) -> Mapping[str, str]:
    """sha256 of each image by its path below the folder `images` of a data root; empty where there is no list.

    Raises:
        DataError: it cannot be read, or a line is none.
    """
    file = root / NAME
    if not file.is_file():
        return {}
    stat = file.stat()
    return _read(root, images, (stat.st_mtime_ns, stat.st_size, stat.st_ino))


@lru_cache(maxsize=1)  # the tasks of a scenario share their root
def _read(root: Path, images: str, stamp: tuple[int, ...]) -> Mapping[str, str]:
    file, found = root / NAME, dict[str, str]()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); {remedy(root)}") from error
    for number, line in enumerate(lines, start=1):
        if (parts := LINE.fullmatch(line)) is None:
            raise DataError(f"{file}:{number}: is no sha256 with a path; {remedy(root)}")
        found[parts[2].removeprefix("./").removeprefix(f"{images}/")] = parts[1]
    return found


def is_listed(found: str, listed: str) -> bool:
    """Whether an `image_hash` is that of an image whose file has the sha256 of the list."""
    return found in (listed, hashlib.sha256(f"scaled {listed}".encode()).hexdigest())


def remedy(root: Path) -> str:
    """What to do about an image that is not what it was."""
    return (
        f"restore it (CoIN-mini is built afresh once {root} is deleted), or where it is meant to differ remove "
        f"{root / NAME}"
    )
