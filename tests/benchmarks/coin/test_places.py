"""Image folders and ground-truth files: links, copies, and what is missing."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from coin_lightning.benchmarks.coin import gqa, imagenet, vqav2
from coin_lightning.benchmarks.coin.places import MODES, Images, place_truths
from coin_lightning.errors import DataError


@pytest.fixture
def raw(tmp_path) -> Path:
    """GQA's images and truth."""
    folder = tmp_path / "raw"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "1.jpg").write_bytes(b"one")
    (folder / "testdev_balanced_questions.json").write_text("{}")
    return folder


def images(raw: Path, out: Path, mode: str) -> Images:
    found = Images(gqa.RAW, raw, out, mode)
    found.prepare()
    return found


def test_links_lead_to_the_raw_folder(raw, tmp_path):
    out = tmp_path / "out"
    found = images(raw, out, "link")
    assert (out / "GQA" / "images").is_symlink()
    assert (out / "GQA" / "images" / "1.jpg").read_bytes() == b"one"
    assert found.trouble("GQA/images/1.jpg") is None
    assert found.trouble(None) is None
    assert found.trouble("GQA/images/2.jpg") == (
        f"image {out / 'GQA' / 'images' / '2.jpg'} is missing; restore it or remove the record"
    )
    images(raw, out, "link")  # once more changes nothing


def test_a_link_follows_when_the_raw_folder_moves(raw, tmp_path):
    out, moved = tmp_path / "out", tmp_path / "moved"
    images(raw, out, "link")
    raw.rename(moved)
    found = images(moved, out, "link")
    assert found.trouble("GQA/images/1.jpg") is None
    assert (out / "GQA" / "images").resolve() == (moved / "images").resolve()


def test_a_link_that_others_may_need_is_not_led_elsewhere(raw, tmp_path):
    """Grounding and VQAv2 share COCO's training folder."""
    out, part = tmp_path / "out", tmp_path / "part"
    images(raw, out, "link")
    (part / "images").mkdir(parents=True)
    (part / "testdev_balanced_questions.json").write_text("{}")
    with pytest.raises(
        DataError, match=r"leads to .*images, where 1 files lie that .*part.images does not have \(1\.jpg"
    ):
        images(part, out, "link")
    assert (out / "GQA" / "images").resolve() == (raw / "images").resolve()
    for name in ("1.jpg", "2.jpg"):
        (part / "images" / name).touch()
    images(part, out, "link")
    assert (out / "GQA" / "images").resolve() == (part / "images").resolve()


def test_copies_do_not_take_the_place_of_a_link_unasked(raw, tmp_path):
    """Another task's samples may show what lies behind it, and copies are made of what this one shows only."""
    out = tmp_path / "out"
    images(raw, out, "link")
    with pytest.raises(DataError, match=r"is a link to .*images of an earlier build.*remove it to have copies"):
        images(raw, out, "copy")
    assert (out / "GQA" / "images" / "1.jpg").is_file()


def test_the_listing_has_each_folder_once_and_changes_with_the_names(raw, tmp_path):
    out = tmp_path / "out"
    (raw / "images" / "again").symlink_to(raw / "images")
    (raw / "images" / "and_again").symlink_to(raw / "images")
    first = images(raw, out, "link").listing
    assert images(raw, out, "link").listing == first
    (raw / "images" / ".1.jpg.7.part").touch()  # of a copy that was killed
    assert images(raw, out, "link").listing == first
    (raw / "images" / "2.jpg").touch()
    assert images(raw, out, "link").listing != first
    assert images(raw, out, "unchecked").listing is None
    assert Images(imagenet.RAW, raw, out, "unchecked").listing is not None


@pytest.mark.parametrize("mode", ["link", "copy"])
def test_builds_of_two_tasks_at_once_share_their_images(raw, tmp_path, mode):
    """Each finds the folder empty, and ends behind the other."""
    out, names = tmp_path / "out", {f"x{number}.jpg" for number in range(200)}
    for name in names:
        (raw / "images" / name).write_bytes(b"image" * 1000)
    with ProcessPoolExecutor(4, multiprocessing.get_context("fork")) as pool:
        troubles = list(pool.map(_build, [raw] * 4, [out] * 4, [mode] * 4, [sorted(names)] * 4))
    assert troubles == [[None] * 200] * 4
    assert {file.name for file in (out / "GQA" / "images").iterdir()} - {"1.jpg"} == names


def _build(raw: Path, out: Path, mode: str, names: list[str]) -> list[str | None]:
    found = images(raw, out, mode)
    return [found.trouble(f"GQA/images/{name}") for name in names]


def test_a_folder_that_is_there_stays(raw, tmp_path):
    mine = tmp_path / "out" / "GQA" / "images"
    mine.mkdir(parents=True)
    (mine / "2.jpg").touch()
    found = images(raw, tmp_path / "out", "link")
    assert not mine.is_symlink()
    assert found.trouble("GQA/images/2.jpg") is None
    assert "is missing" in found.trouble("GQA/images/1.jpg")


def test_copies_are_made_of_named_images_only(raw, tmp_path):
    (raw / "images" / "unused.jpg").touch()
    out = tmp_path / "out"
    found = images(raw, out, "copy")
    assert found.trouble("GQA/images/1.jpg") is None
    assert found.trouble("GQA/images/1.jpg") is None
    assert f"image {raw / 'images' / '2.jpg'} is missing" in found.trouble("GQA/images/2.jpg")
    assert [file.name for file in (out / "GQA" / "images").iterdir()] == ["1.jpg"]
    assert not (out / "GQA" / "images").is_symlink()


def test_none_looks_below_the_image_root_and_unchecked_nowhere(raw, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DataError, match="image folder is missing; looked for images, allImages/images"):
        images(raw, out, "none")
    (out / "GQA" / "images").mkdir(parents=True)
    assert "is missing" in images(raw, out, "none").trouble("GQA/images/1.jpg")
    assert images(raw, tmp_path / "nowhere", "unchecked").trouble("GQA/images/9.jpg") is None
    assert not (tmp_path / "nowhere").exists()
    assert set(MODES) == {"link", "copy", "none", "unchecked"}


def test_all_missing_folders_are_named(tmp_path):
    with pytest.raises(DataError) as caught:
        Images(vqav2.RAW, tmp_path, tmp_path / "out", "link").prepare()
    assert len(caught.value.problems) == 2
    assert "images=unchecked" in caught.value.problems[0]


def test_coco_beside_the_raw_folder_is_found(tmp_path):
    for folder in ("train2014", "val2014"):
        (tmp_path / "COCO2014" / folder).mkdir(parents=True)
    (tmp_path / "VQAv2").mkdir()
    Images(vqav2.RAW, tmp_path / "VQAv2", tmp_path / "out", "link").prepare()
    assert (tmp_path / "out" / "COCO2014" / "val2014").resolve() == tmp_path / "COCO2014" / "val2014"


def test_truths_are_copied_and_renewed(raw, tmp_path):
    out = tmp_path / "out"
    target = out / "GQA" / "testdev_balanced_questions.json"
    place_truths(gqa.RAW, raw, out)
    assert target.read_text() == "{}"
    before = target.stat().st_ino
    place_truths(gqa.RAW, raw, out)
    assert target.stat().st_ino == before
    (raw / "testdev_balanced_questions.json").write_text('{"1": {}}')
    place_truths(gqa.RAW, raw, out)
    assert target.read_text() == '{"1": {}}'
    (raw / "testdev_balanced_questions.json").unlink()
    with pytest.raises(DataError, match=r"GQA's testdev_balanced_questions\.json is missing"):
        place_truths(gqa.RAW, raw, out)


def test_a_raw_folder_that_is_the_image_root_itself_stays_as_it_is(raw):
    out = raw.parent
    raw.rename(out / "GQA")
    place_truths(gqa.RAW, out / "GQA", out)
    found = images(out / "GQA", out, "link")
    assert not (out / "GQA" / "images").is_symlink()
    assert found.trouble("GQA/images/1.jpg") is None
    assert (out / "GQA" / "testdev_balanced_questions.json").read_text() == "{}"
