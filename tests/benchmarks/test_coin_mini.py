import hashlib
import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from coin_lightning.benchmarks import coin_mini
from coin_lightning.benchmarks.coin_mini import TASKS, build, ensure
from coin_lightning.errors import DataError
from coin_lightning.evaluation.answer_text import normalize_answer

pytestmark = pytest.mark.assets
# Of the small build in conftest.py with the pinned Pillow and matplotlib. A changed digest means changed bytes:
# count VERSION up, then copy the new digest from the failure.
GOLDEN = "b97c71e9d2b27cecffade095dc138da54062a35283a68beb46d2e654578d0330"


def test_the_small_build_has_the_committed_bytes(small_suite):
    assert small_suite[1].digest == GOLDEN


def test_two_builds_are_equal_byte_by_byte_and_seeds_differ(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build(tmp_path / name, train_samples=8, test_samples=4, caption_samples=8, seed=seed)
    contents = {
        name: {
            path.relative_to(tmp_path / name).as_posix(): path.read_bytes() for path in (tmp_path / name).rglob("*.*")
        }
        for name in "abc"
    }
    assert contents["a"] == contents["b"]
    assert contents["a"] != contents["c"]


def test_manifest_counts_and_checksums_are_those_of_the_files(small_suite):
    root, manifest = small_suite
    written = json.loads((root / "manifest.json").read_text())
    assert written["digest"] == manifest.digest
    assert set(written["files"]) == {
        path.relative_to(root).as_posix() for path in root.rglob("*.json") if path.name != "manifest.json"
    }
    for name, checksum in written["files"].items():
        assert hashlib.sha256((root / name).read_bytes()).hexdigest() == checksum
    for task in TASKS:
        assert manifest.counts[task.folder]["train"]["rows"] == {"scienceqa": 60, "imagenet": 15}.get(task.key, 30)
        assert manifest.counts[task.folder]["test"]["rows"] == 30
    assert all(entry["licence"] and entry["attribution"] for entry in written["materials"])


def test_every_sample_has_coins_fields(small_suite, samples_of):
    for task in TASKS:
        for sample in samples_of(task.folder, "train"):
            human, gpt = sample["conversations"]
            assert (human["from"], gpt["from"]) == ("human", "gpt")
            assert human["value"].startswith("<image>\n") == ("image" in sample)
            assert human["value"].count("<image>") == ("image" in sample)
            assert gpt["value"].strip() == gpt["value"] != ""
        answers = {"answer_bbox", "origin_answer_bbox", "size"} if task.key == "grounding" else {"answer"}
        for sample in samples_of(task.folder, task.evaluation):
            assert set(sample) - {"image"} == {"question_id", "text"} | answers
            assert "image" in sample or task.key == "scienceqa"
            assert "<image>" not in sample["text"]


def test_images_exist_are_small_and_in_one_split_only(small_suite, samples_of):
    root = small_suite[0]
    seen: dict[bytes, str] = {}
    for task in TASKS:
        paths = {
            split: {sample["image"] for sample in samples_of(task.folder, split) if "image" in sample}
            for split in ("train", task.evaluation)
        }
        assert not paths["train"] & paths[task.evaluation]
        for split, images in paths.items():
            for image in images:
                assert image.startswith("./")
                file = root / "cl_dataset" / image
                with Image.open(file) as opened:
                    assert max(opened.size) <= 224
                    assert opened.mode == "RGB"
                assert seen.setdefault(file.read_bytes(), f"{task.key} {split}") == f"{task.key} {split}"


def test_validation_samples_are_in_no_other_split_and_the_training_samples_stay(small_suite, samples_of, tmp_path):
    counts = {"train_samples": 60, "test_samples": 30, "caption_samples": 24}
    build(tmp_path, **counts, held_out="validation")

    def contents(root, samples):
        return {hashlib.sha256((root / "cl_dataset" / sample["image"]).read_bytes()).digest() for sample in samples
                if "image" in sample}  # fmt: skip

    root = small_suite[0]
    for task in TASKS:
        file = f"Instructions_Original/{task.folder}/train.json"
        assert (tmp_path / file).read_bytes() == (root / file).read_bytes()
        chosen = json.loads((tmp_path / f"Instructions_Original/{task.folder}/{task.evaluation}.json").read_text())
        train, test = samples_of(task.folder, "train"), samples_of(task.folder, task.evaluation)
        assert len(chosen) == len(test) == 30
        assert not contents(tmp_path, chosen) & (contents(root, train) | contents(root, test))
        ids = {str(sample["question_id"]) for sample in chosen}
        assert not ids & {sample["id"] for sample in train} | ids & {str(sample["question_id"]) for sample in test}
        if task.key == "scienceqa":
            texts = {sample["text"] for sample in chosen if "image" not in sample}
            asked = {sample["conversations"][0]["value"] for sample in train}
            assert texts
            assert not texts & (asked | {sample["text"] for sample in test})
            problems = json.loads((tmp_path / "cl_dataset/ScienceQA/problems.json").read_text())
            assert set(problems) == ids | {sample["id"] for sample in train}


def test_images_of_a_suite_are_listed_and_one_without_a_list_is_checked_first(small_suite, tmp_path):
    shutil.copytree(small_suite[0], tmp_path / "suite")
    listed = tmp_path / "suite" / "images.sha256"
    sound = listed.read_text()
    for line in sound.splitlines():
        digest, path = line.split("  ")
        assert hashlib.sha256((tmp_path / "suite" / path).read_bytes()).hexdigest() == digest
    assert len(sound.splitlines()) == sum(1 for _ in (tmp_path / "suite" / "cl_dataset").rglob("*.[jJ][pP]*"))
    listed.unlink()  # as earlier versions left it
    ensure(tmp_path / "suite")
    assert listed.read_text() == sound
    listed.unlink()
    image = next((tmp_path / "suite" / "cl_dataset" / "GQA" / "images").iterdir())
    raw = image.read_bytes()
    image.write_bytes(bytes([*raw[:-1], raw[-1] ^ 1]))
    with pytest.raises(DataError, match=r"cl_dataset: an image of GQA is not what was built .* delete the folder and"):
        ensure(tmp_path / "suite")
    image.unlink()
    with pytest.raises(DataError, match=rf"{image}: is missing; delete the folder and run again"):
        ensure(tmp_path / "suite")
    assert not listed.exists()


def test_no_answer_is_scored_otherwise_by_the_second_version_of_scienceqas_rules():
    """So matrices of version 1 whose answers are gone (`experiments/results/coin_mini`) stand beside those of version
    2, which tells choices of one `normalize_answer` form apart, and negative numbers from positive ones."""
    problems = json.loads((ensure() / "cl_dataset" / "ScienceQA" / "problems.json").read_text())
    assert len(problems) == 2400
    for problem in problems.values():
        forms = [normalize_answer(choice) for choice in problem["choices"]]
        assert len(set(forms)) == len(forms)
        assert not any(character.isdigit() for form in forms for character in form)


def test_ids_are_unique_within_and_across_splits(samples_of):
    for task in TASKS:
        train = [sample["id"] for sample in samples_of(task.folder, "train")]
        test = [str(sample["question_id"]) for sample in samples_of(task.folder, task.evaluation)]
        assert len(set(train + test)) == len(train) + len(test)


def test_ensure_builds_once_and_refuses_foreign_folders(tmp_path, monkeypatch):
    calls = []

    def tiny(root, held_out):
        calls.append(root)
        return build(root, train_samples=4, test_samples=1, caption_samples=1, held_out=held_out)

    monkeypatch.setattr(coin_mini, "build", tiny)
    folder = ensure(tmp_path / "suite")
    assert ensure(folder) == folder == tmp_path / "suite"
    assert len(calls) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"suite", ".suite.lock"}
    monkeypatch.setattr(coin_mini, "VERSION", "another")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": "older"}))
    (folder / "leftover").touch()
    ensure(folder)
    assert len(calls) == 2
    assert not (folder / "leftover").exists()
    with pytest.raises(DataError, match="with its test samples, not validation: name another folder"):
        ensure(folder, held_out="validation")
    file = folder / "Instructions_Original/GQA/train.json"
    sound = file.read_text()
    file.write_text(sound.replace("Is ", "Was "))
    with pytest.raises(DataError, match=r"GQA/train.json: is not what was built .* delete the folder and run again"):
        ensure(folder)
    file.write_text(sound)
    assert ensure(folder) == folder
    file.unlink()
    with pytest.raises(DataError, match=r"lacks Instructions_Original/GQA/train.json"):
        ensure(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "thesis.txt").touch()
    with pytest.raises(DataError, match="is no CoIN-mini"):
        ensure(folder)
    assert (folder / "thesis.txt").exists()


def an_older_suite(folder, monkeypatch):
    """Of another version, as an update of the project finds it; gives the list of builds that follow."""
    calls = []

    def tiny(root, held_out):
        calls.append(root)
        time.sleep(0.3)
        return build(root, train_samples=2, test_samples=1, caption_samples=1, held_out=held_out)

    monkeypatch.setattr(coin_mini, "build", tiny)
    ensure(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": "older"}))
    (folder / "leftover").touch()
    calls.clear()
    return calls


def test_one_of_several_runs_builds_a_new_version_and_the_others_wait_for_it(tmp_path, monkeypatch):
    """Looked at while it was replaced, it was told to be no CoIN-mini at all."""
    folder = tmp_path / "suite"
    calls = an_older_suite(folder, monkeypatch)
    whole, real = threading.Event(), shutil.rmtree

    def slow(path, *more, **options):
        if (Path(path) / "manifest.json").exists():
            (Path(path) / "manifest.json").unlink()
            whole.set()
            time.sleep(0.5)
        real(path, *more, **options)

    monkeypatch.setattr(shutil, "rmtree", slow)
    with ThreadPoolExecutor(3) as pool:
        first = [pool.submit(ensure, folder) for _ in range(2)]
        whole.wait(20)
        late = pool.submit(ensure, folder)
        assert [run.result() for run in (*first, late)] == [folder] * 3
    assert len(calls) == 1
    assert not (folder / "leftover").exists()


def test_a_suite_whose_replacement_was_killed_is_built_at_the_next_start(tmp_path, monkeypatch):
    folder = tmp_path / "suite"
    calls = an_older_suite(folder, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # killed before anything was cleared away
        patch.setattr(Path, "rename", killed(Path.rename, 2))
        with pytest.raises(KeyboardInterrupt):
            ensure(folder)
    assert not folder.exists()
    assert len(list(tmp_path.glob(".suite-*"))) == 2
    assert ensure(folder) == folder
    assert len(calls) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"suite", ".suite.lock"}


def killed(call, nth):
    """The function, but its `nth` call ends all."""
    left = iter(range(nth - 1, -1, -1))

    def called(*given):
        if next(left) == 0:
            raise KeyboardInterrupt
        return call(*given)

    return called
