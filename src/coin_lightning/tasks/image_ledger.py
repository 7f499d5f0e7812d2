"""`ImageLedger`: which image files have been decoded without trouble, so that no start decodes them twice.

One SQLite file is shared by all processes of a machine. Every access is one short transaction with SQLite's rollback
journal (a write-ahead log needs shared memory, which network file systems do not give). An image is known by absolute
path, size in bytes and modification time; only sound images are remembered.
"""

import os
import sqlite3
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from filelock import FileLock, Timeout

from coin_lightning.backbones.images import image_hash, open_image
from coin_lightning.errors import DataError
from coin_lightning.pillow_warnings import listening

VERSION = 2
"""Of the table and of what counts as sound; a file of another version is set aside."""
TABLE = """CREATE TABLE IF NOT EXISTS images (
    path TEXT PRIMARY KEY, bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, sha256 BLOB NOT NULL, warning TEXT NOT NULL
) WITHOUT ROWID"""
PATIENCE = 60.0
"""Seconds to wait for another process's transaction; each takes milliseconds."""
BATCH = 256
"""Images per transaction: a kill loses at most so many decodings."""
TOGETHER = 4
"""Images that a thread takes at once."""
LEDGER = "images.sqlite"
"""Name of the file in the features folder."""
QUERY = 500
"""Paths per question; SQLite's oldest limit on variables is 999."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class ImageFacts(NamedTuple):
    """What a decoded image has told: width and height in pixels, `image_hash`, and what Pillow warns of."""

    width: int
    height: int
    sha256: bytes
    warning: str = ""


class Stamp(NamedTuple):
    """An image file as `os.stat` sees it."""

    bytes: int
    mtime_ns: int


@dataclass
class Survey:
    """Result of looking at images, by relative path: the sound ones and the texts about the others."""

    facts: dict[str, ImageFacts] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def warned(self) -> dict[str, str]:
        """What Pillow warns of in sound images."""
        return {image: facts.warning for image, facts in self.facts.items() if facts.warning}


class UnusableLedger(Exception):
    """The file cannot be locked, opened or written here; the reason is its text."""


class ImageLedger:
    """Remembers which images have been decoded without trouble.

    Safe for several processes and threads. A damaged file, or one of another version, is set aside with a warning and
    made anew. Where SQLite cannot lock or write the file (some network file systems, a read-only folder) there is one
    warning, and every start decodes all its images again.

    Args:
        file: the SQLite file; folders above it are made when something is stored.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.usable = True

    def check(
        self,
        root: Path,
        images: Sequence[str],
        workers: int | None = None,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> dict[str, str]:
        """Problem texts of the images (paths relative to `root`) that cannot be used; empty when all are sound.

        Args:
            workers: decoding threads; default: one per core that this process may use.
            on_progress: gets the number of further images done.
        """
        return self.survey(root, images, workers, on_progress).problems

    def survey(
        self,
        root: Path,
        images: Sequence[str],
        workers: int | None = None,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> Survey:
        """As `check`, with size and sha256 of each sound image."""
        folder = os.path.abspath(root)
        stamps = {image: stamp_of(os.path.join(folder, image)) for image in dict.fromkeys(images)}
        survey = Survey(facts=self.known(folder, stamps))
        on_progress(len(survey.facts))
        if len(survey.facts) == len(stamps):
            return survey
        with self._decoding():  # the processes of a job, and runs that start together, share the work
            unknown = {image: stamp for image, stamp in stamps.items() if image not in survey.facts}
            if others := self.known(folder, unknown):
                survey.facts |= others
                on_progress(len(others))
            self._decode(folder, unknown, survey, workers or cores(), on_progress)
        return survey

    def _decode(
        self,
        folder: str,
        stamps: Mapping[str, Stamp | None],
        survey: Survey,
        workers: int,
        on_progress: Callable[[int], None],
    ) -> None:
        """Look at those images that the survey lacks, and remember the sound ones."""
        fresh = [image for image in stamps if image not in survey.facts]
        pending: dict[str, ImageFacts] = {}
        with closing(decoded(folder, fresh, workers)) as results:
            try:
                for image, found in results:
                    if isinstance(found, str):
                        survey.problems[image] = found
                    else:
                        survey.facts[image] = pending[image] = found
                    if len(pending) >= BATCH:
                        self._store(folder, stamps, pending)
                        pending = {}
                    on_progress(1)
            finally:
                self._store(folder, stamps, pending)

    def _decoding(self) -> AbstractContextManager[object]:
        """Within it no other process decodes. Where nothing can be kept or locked each works for itself, at once."""
        if not self._use(lambda connection: True):
            return nullcontext()
        try:
            return FileLock(f"{self.file}.decoding.lock").acquire()
        except (OSError, NotImplementedError):  # the latter is filelock's word for a file system without locks
            return nullcontext()

    def known(self, folder: str, stamps: Mapping[str, Stamp | None]) -> dict[str, ImageFacts]:
        """Facts of those images below the absolute `folder` whose stamp is the remembered one."""
        if not os.path.exists(self.file):
            return {}
        return self._use(lambda connection: _matching(connection, folder, stamps)) or {}

    def _store(self, folder: str, stamps: Mapping[str, Stamp | None], facts: Mapping[str, ImageFacts]) -> None:
        rows = [
            (os.path.join(folder, image), *stamp, *found)
            for image, found in facts.items()
            if (stamp := stamps[image]) is not None
        ]
        if rows:
            self._use(lambda connection: _insert(connection, rows))

    def _use(self, action: Callable[[sqlite3.Connection], Result]) -> Result | None:
        """Run `action` on an open ledger; once more when the file was damaged, and not at all when it is unusable."""
        if not self.usable:
            return None
        try:
            try:
                return self._attempt(action)
            except sqlite3.DatabaseError as damage:
                self._set_aside(str(damage))
                return self._attempt(action)
        except (UnusableLedger, sqlite3.DatabaseError) as error:
            self.usable = False
            warnings.warn(
                f"{self.file}: the list of decoded images cannot be kept here ({error}); every start decodes all "
                "images again. Put paths.features on a local disk to avoid that.",
                stacklevel=2,
            )
            return None

    def _attempt(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # a connection per access: it is cheap, and none is carried into a forked loader or another thread
            with closing(sqlite3.connect(self.file, timeout=PATIENCE)) as connection, connection:
                _prepare(connection)
                return action(connection)
        except (sqlite3.OperationalError, OSError) as error:
            raise UnusableLedger(str(error)) from error

    def _set_aside(self, reason: str) -> None:
        """Rename a damaged file, unless another process has just done it."""
        try:
            with FileLock(f"{self.file}.lock", timeout=PATIENCE):
                if self._sound():
                    return
                place = _free_name(self.file)
                self.file.rename(place)
                Path(f"{self.file}-journal").unlink(missing_ok=True)
        except (OSError, Timeout) as error:
            raise UnusableLedger(str(error)) from error
        warnings.warn(f"{self.file}: cannot be used ({reason}); set aside as {place.name} and made anew", stacklevel=4)

    def _sound(self) -> bool:
        try:
            return self._attempt(_quick_check)
        except sqlite3.DatabaseError:
            return False


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def stamp_of(path: str) -> Stamp | None:
    """Size and modification time, or None when there is no such file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # missing, too long a name, a zero byte in it
        return None
    return Stamp(found.st_size, found.st_mtime_ns)


def decoded(folder: str, images: Sequence[str], workers: int) -> Generator[tuple[str, ImageFacts | str], None, None]:
    """Decode images in threads (Pillow works outside the interpreter's lock); facts or problem text, in order."""

    def several(part: Sequence[str]) -> list[tuple[str, ImageFacts | str]]:
        return [(image, decode(Path(folder, image))) for image in part]

    parts = (images[start : start + TOGETHER] for start in range(0, len(images), TOGETHER))
    with ThreadPoolExecutor(workers) as pool:
        for part in _windowed(pool, several, parts, 8 * workers):
            yield from part


def decode(path: Path) -> ImageFacts | str:
    """Facts of an image file, or the text about what is wrong with it."""
    try:
        with listening() as said:
            width, height = open_image(path).size
        return ImageFacts(width, height, bytes.fromhex(image_hash(path)), "; ".join(dict.fromkeys(said)))
    except DataError as error:
        return "; ".join(error.problems)
    except Exception as error:  # a decoder on hostile bytes raises anything: EOFError, struct.error, KeyError, ...
        return f"{path}: image is broken ({error!r}); replace the file or remove the row"


def _windowed(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], size: int
) -> Iterator[Result]:
    """As `pool.map`, with at most `size` items under way: a million futures would take a gigabyte."""
    window: deque[Future[Result]] = deque()
    try:
        for item in items:
            window.append(pool.submit(work, item))
            if len(window) >= size:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        for future in window:
            future.cancel()


def _prepare(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == VERSION:
        return
    if version != 0:
        raise sqlite3.DatabaseError(f"version {version}, not {VERSION}")
    connection.execute(TABLE)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _matching(connection: sqlite3.Connection, folder: str, stamps: Mapping[str, Stamp | None]) -> dict[str, ImageFacts]:
    found: dict[str, ImageFacts] = {}
    images = [image for image, stamp in stamps.items() if stamp is not None]
    for start in range(0, len(images), QUERY):
        paths = {os.path.join(folder, image): image for image in images[start : start + QUERY]}
        marks = ",".join("?" * len(paths))
        question = f"SELECT path, bytes, mtime_ns, width, height, sha256, warning FROM images WHERE path IN ({marks})"
        for path, size, mtime, *facts in connection.execute(question, list(paths)):
            if stamps[paths[path]] == (size, mtime):
                found[paths[path]] = ImageFacts(*facts)
    return found


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> bool:
    connection.executemany("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    return True


def _quick_check(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA quick_check").fetchone()[0] == "ok")


def _free_name(file: Path) -> Path:
    names = (file.with_name(f"{file.name}.damaged-{number}") for number in range(1, 1_000_000))
    return next(name for name in names if not name.exists())
