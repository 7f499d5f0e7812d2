"""Images that have changed since they were fetched or looked at, and caches that can only be read."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from coin_lightning.assets import file_sha256
from coin_lightning.image_list import write_list

WITHOUT_RIGHTS = "+callbacks.rights._target_=probes.WithoutRights"


@pytest.fixture
def words(place, tmp_path: Path):
    """A brief run on a suite and with caches of its own."""
    suite = Path(shutil.copytree(place.suite, tmp_path / "suite"))

    def command(name: str, *more: str, tasks: str = "gqa") -> list[str]:
        own = [f"paths.data={suite}", f"paths.features={tmp_path / 'features'}", f"run_dir={tmp_path / name}"]
        return [*place.brief("unused", tasks=tasks), *own, *more]

    return command


def images_of(suite: Path) -> list[Path]:
    return sorted(suite.rglob("*.jpg"))


def flipped(image: Path) -> None:
    """One bit, behind the size and the time of the file."""
    before, raw = image.stat(), bytearray(image.read_bytes())
    raw[-3] ^= 1
    image.write_bytes(raw)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_an_image_that_is_not_the_listed_one_is_named_with_its_sample(place, words, tmp_path: Path):
    suite = tmp_path / "suite"
    write_list(suite, {str(image.relative_to(suite)): file_sha256(image) for image in images_of(suite)})
    status, text = place.runs.run(words("sound"))
    assert status == 0, text
    image = suite / "cl_dataset" / "shared" / "red.jpg"
    image.write_bytes(image.read_bytes() + b"x")
    status, text = place.runs.run(words("altered"))
    assert status == 1
    assert "Traceback" not in text
    told = " ".join(text.split())
    assert f"{image}: is not what was built or fetched (images.sha256 has another sha256); restore it" in told
    assert "train.json sample" in told or "test.json sample" in told
    assert not list((tmp_path / "altered").glob("task_*"))


def test_a_bit_that_has_flipped_since_an_image_was_looked_at_is_found_when_its_pixels_are_used(
    place, words, tmp_path: Path
):
    status, text = place.runs.run(words("sound"))
    assert status == 0, text
    for image in images_of(tmp_path / "suite"):
        flipped(image)
    for store in (tmp_path / "features").glob("*-v3"):
        shutil.rmtree(store)
    for more in ([], ["data.cache_features=false"]):
        status, text = place.runs.run(words("flipped", *more))
        assert status == 1
        assert "holds other bytes than when it was first looked at" in text
        assert f"{tmp_path / 'suite' / 'cl_dataset'}" in text
        assert "Traceback" not in text


@pytest.fixture
def shut(tmp_path: Path) -> Iterator[Path]:
    """The features, which nobody may write to once they are there."""
    yield tmp_path / "features"
    for folder in (tmp_path / "features", *(tmp_path / "features").rglob("*")):
        folder.chmod(0o755)


def close(folder: Path) -> None:
    for each in (*folder.rglob("*"), folder):
        each.chmod(0o555 if each.is_dir() else 0o444)


def test_features_that_can_only_be_read_are_used_while_none_is_lacking(place, words, shut: Path, tmp_path: Path):
    status, text = place.runs.run(words("first"))
    assert status == 0, text
    before = {file: file.stat().st_mtime_ns for file in shut.rglob("*")}
    close(shut)
    status, text = place.runs.run(words("second", WITHOUT_RIGHTS))
    assert status == 0, text
    assert {file: file.stat().st_mtime_ns for file in shut.rglob("*")} == before
    scores = [json.loads((tmp_path / name / "matrix.json").read_text())["scores"] for name in ("first", "second")]
    assert scores[0] == scores[1]
    (store,) = shut.glob("*-v3")
    store.chmod(0o755)
    index = store / "index.txt"
    index.chmod(0o644)
    index.write_text("".join(index.read_text().splitlines(keepends=True)[1:]))
    close(shut)
    status, text = place.runs.run(words("third", WITHOUT_RIGHTS))
    assert status == 1
    assert "Traceback" not in text
    told = " ".join(text.split())
    assert f"{store}: lacks the features of 1 images, and {store} cannot be written to; name another place with" in told
    assert not list((tmp_path / "third").glob("task_*"))
