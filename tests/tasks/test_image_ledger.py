"""The list of decoded images: what it spares, what it must not believe, and what can happen to its file."""

import multiprocessing
import os
import sqlite3
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, get_ident

import pytest
from PIL import Image

from coin_lightning.assets import file_sha256
from coin_lightning.tasks import image_ledger
from coin_lightning.tasks.image_ledger import ImageLedger, _windowed, stamp_of

SIZES = {"a.png": (12, 8), "b.jpg": (9, 30), "deep/c.png": (5, 5)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images, and files that are none."""
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for name, size in SIZES.items():
        Image.new("RGB", size, "red").save(folder / name)
    (folder / "text.jpg").write_text("no image")
    Image.effect_noise((64, 64), 90).save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-500])
    return folder


@pytest.fixture
def ledger(tmp_path: Path) -> ImageLedger:
    return ImageLedger(tmp_path / "features" / "images.sqlite")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are decoded."""
    names: list[str] = []
    real = image_ledger.open_image

    def watch(path: Path) -> Image.Image:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(image_ledger, "open_image", watch)
    return names


def entries(ledger: ImageLedger) -> set[str]:
    with sqlite3.connect(ledger.file) as connection:
        return {Path(path).name for (path,) in connection.execute("SELECT path FROM images")}


def test_sound_images_give_size_and_hash_and_others_a_text(root, ledger):
    survey = ledger.survey(root, [*SIZES, "text.jpg", "cut.jpg", "gone.png", "deep", "x" * 300], workers=3)
    assert {image: facts[:2] for image, facts in survey.facts.items()} == SIZES
    assert survey.facts["a.png"].sha256.hex() == file_sha256(root / "a.png")
    assert set(survey.problems) == {"text.jpg", "cut.jpg", "gone.png", "deep", "x" * 300}
    assert "image is missing" in survey.problems["gone.png"]
    assert "cannot be opened" in survey.problems["text.jpg"]
    assert "is broken" in survey.problems["cut.jpg"]
    assert str(root / "cut.jpg") in survey.problems["cut.jpg"]


def test_a_known_image_is_not_opened_again_by_anyone(root, ledger, opened):
    assert ledger.check(root, list(SIZES)) == {}
    assert sorted(opened) == ["a.png", "b.jpg", "c.png"]
    first = ledger.survey(root, list(SIZES)).facts
    again = ImageLedger(ledger.file).survey(root, list(SIZES)).facts
    assert len(opened) == 3
    assert first == again
    assert {facts[:2] for facts in again.values()} == set(SIZES.values())


def test_another_root_to_the_same_files_is_the_same_file(root, ledger, opened, monkeypatch):
    ledger.check(root, ["deep/c.png"])
    monkeypatch.chdir(root.parent)
    assert ledger.check(Path("images/deep"), ["c.png"]) == {}
    assert opened == ["c.png"]


def test_a_changed_file_is_opened_again(root, ledger, opened):
    ledger.check(root, ["a.png"])
    Image.new("RGB", (40, 41), "blue").save(root / "a.png")
    assert ledger.survey(root, ["a.png"]).facts["a.png"][:2] == (40, 41)
    stamp = (root / "a.png").stat()
    os.utime(root / "a.png", ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))  # same size, one nanosecond later
    ledger.check(root, ["a.png"])
    assert opened == ["a.png"] * 3


def test_a_broken_image_is_looked_at_every_time_until_it_is_mended(root, ledger, opened):
    for _ in range(2):
        assert set(ledger.check(root, ["cut.jpg"])) == {"cut.jpg"}
    assert entries(ledger) == set() if ledger.file.exists() else True
    (root / "cut.jpg").write_bytes((root / "b.jpg").read_bytes())
    assert ledger.check(root, ["cut.jpg"]) == {}
    assert opened == ["cut.jpg"] * 3


def test_a_image_that_vanished_is_missed_although_it_is_known(root, ledger):
    ledger.check(root, ["a.png"])
    (root / "a.png").unlink()
    assert "missing" in ledger.check(root, ["a.png"])["a.png"]


def test_progress_counts_every_image_once(root, ledger):
    steps: list[int] = []
    images = ["a.png", "b.jpg", "a.png", "text.jpg"]
    ledger.check(root, images, on_progress=steps.append)
    assert sum(steps) == 3
    steps.clear()
    ledger.check(root, images, on_progress=steps.append)
    assert steps == [2, 1]  # both sound ones at once, and the broken one again


def test_what_was_decoded_before_an_interruption_is_kept(root, ledger, opened):
    def interrupt(done: int) -> None:
        if len(opened) >= 2 and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.check(root, ["a.png", "b.jpg", "deep/c.png"], workers=1, on_progress=interrupt)
    kept = entries(ledger)
    assert "a.png" in kept
    ledger.check(root, list(SIZES))
    assert [opened.count(name) for name in kept] == [1] * len(kept)


def test_images_are_stored_in_batches(root, ledger, monkeypatch):
    stored: list[int] = []
    real = image_ledger._insert
    monkeypatch.setattr(image_ledger, "BATCH", 2)
    monkeypatch.setattr(image_ledger, "_insert", lambda to, rows: (stored.append(len(rows)), real(to, rows)))
    ledger.check(root, list(SIZES))
    assert stored == [2, 1]
    assert entries(ledger) == {"a.png", "b.jpg", "c.png"}


def _look(file: Path, root: Path, images: list[str]) -> None:
    assert ImageLedger(file).check(root, images) == {}


def test_several_processes_share_the_file(tmp_path, ledger):
    root = tmp_path / "many"
    root.mkdir()
    names = [f"{at}.png" for at in range(40)]
    for name in names:
        Image.new("L", (3, 3)).save(root / name)
    context = multiprocessing.get_context("fork")
    parts = [names[:25], names[15:], names[::2]]
    started = [context.Process(target=_look, args=(ledger.file, root, part)) for part in parts]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0, 0]
    assert entries(ledger) == set(names)


def test_several_threads_share_the_object(root, ledger):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: ledger.check(root, [*SIZES, "text.jpg"]), range(8)))
    assert all(set(problems) == {"text.jpg"} for problems in found)
    assert entries(ledger) == {"a.png", "b.jpg", "c.png"}


def test_of_several_that_start_together_one_decodes(root, ledger, opened, monkeypatch):
    """The processes of a job: each would decode all images, and they would wait for the slowest."""
    ready, met = Barrier(3), set()
    real = ImageLedger.known

    def together(ledger: ImageLedger, *given: object) -> dict[str, image_ledger.ImageFacts]:
        found = real(ledger, *given)
        if get_ident() not in met:  # the first look of each, before any of them decodes
            met.add(get_ident())
            ready.wait(60)
        return found

    monkeypatch.setattr(ImageLedger, "known", together)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: ImageLedger(ledger.file).survey(root, list(SIZES)).facts, range(3)))
    assert sorted(opened) == ["a.png", "b.jpg", "c.png"]
    assert found[0] == found[1] == found[2]


def garbage(file: Path) -> None:
    file.write_bytes(b"this is no database " * 200)


def other_version(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")


def torn(file: Path) -> None:
    """Whole header, later pages overwritten."""
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    file.write_bytes(data)


def test_what_pillow_warns_of_is_remembered_too(root, ledger, opened):
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 5, 6, 7])
    palette.save(root / "p.png", transparency=b"\x10\x80")
    for _ in range(2):
        survey = ledger.survey(root, ["a.png", "p.png"])
        assert list(survey.warned) == ["p.png"]
        assert "Palette images with Transparency" in survey.warned["p.png"]
    assert sorted(opened) == ["a.png", "p.png"]


OLD_TABLE = """CREATE TABLE images (path TEXT PRIMARY KEY, bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID"""


def test_a_image_that_an_earlier_version_called_sound_is_looked_at_again(root, ledger):
    Image.new("F", (4, 4)).save(root / "deep.tif")
    stamp = (root / "deep.tif").stat()
    ledger.file.parent.mkdir()
    with sqlite3.connect(ledger.file) as connection:
        connection.execute(OLD_TABLE)
        values = (str(root / "deep.tif"), stamp.st_size, stamp.st_mtime_ns, 4, 4, b"")
        connection.execute("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?)", values)
        connection.execute("PRAGMA user_version = 1")
    with pytest.warns(UserWarning, match="version 1, not 2"):
        assert "which value is white" in ledger.check(root, ["deep.tif"])["deep.tif"]


@pytest.mark.parametrize("damage", [garbage, other_version, torn])
def test_a_file_that_cannot_be_used_is_set_aside_and_made_anew(root, ledger, opened, damage):
    ledger.check(root, list(SIZES))
    damage(ledger.file)
    bytes_then = ledger.file.read_bytes()
    opened.clear()
    with pytest.warns(UserWarning, match=r"images\.sqlite: cannot be used .* set aside as images.sqlite.damaged-1"):
        assert ImageLedger(ledger.file).check(root, list(SIZES)) == {}
    assert len(opened) == 3
    assert (ledger.file.parent / "images.sqlite.damaged-1").read_bytes() == bytes_then
    assert ImageLedger(ledger.file).check(root, list(SIZES)) == {}
    assert len(opened) == 3
    damage(ledger.file)
    with pytest.warns(UserWarning, match="damaged-2"):
        ledger.check(root, list(SIZES))


@pytest.mark.parametrize("text", ["locking protocol", "database is locked", "disk I/O error"])
def test_a_file_system_without_locks_gets_one_warning_and_no_ledger(root, ledger, opened, monkeypatch, text):
    def refuse(*args, **options):
        raise sqlite3.OperationalError(text)

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.warns(UserWarning, match=f"{text}.*every start decodes all images again.*paths.features") as warned:
        problems = ledger.check(root, ["a.png", "text.jpg"])
    assert set(problems) == {"text.jpg"}
    assert len(warned) == 1
    assert ledger.survey(root, ["a.png"]).facts["a.png"][:2] == (12, 8)  # without a further warning
    assert sorted(opened) == ["a.png", "a.png", "text.jpg"]


def test_a_place_where_nothing_can_be_written_is_no_error(root, tmp_path):
    (tmp_path / "file").write_text("")
    ledger = ImageLedger(tmp_path / "file" / "below" / "images.sqlite")
    with pytest.warns(UserWarning, match="cannot be kept here"):
        assert ledger.check(root, list(SIZES)) == {}


def test_whatever_a_decoder_raises_is_a_problem_of_the_image(root, ledger, monkeypatch):
    def fail(path: Path) -> Image.Image:
        raise struct.error("unpack requires a buffer of 4 bytes")

    monkeypatch.setattr(image_ledger, "open_image", fail)
    assert "a.png: image is broken (error('unpack requires" in ledger.check(root, ["a.png"])["a.png"]


def test_no_more_than_a_window_of_work_is_under_way():
    taken: list[int] = []

    def numbers():
        for number in range(1000):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as pool:
        results = _windowed(pool, lambda number: number * number, numbers(), 10)
        assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
        assert len(taken) <= 15
        assert sum(results) == sum(number * number for number in range(5, 1000))


def test_a_name_that_no_file_can_have_has_no_stamp():
    assert stamp_of("zero\0byte") is None
    assert stamp_of("x" * 5000) is None
