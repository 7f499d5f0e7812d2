"""Runs in a tree of result folders: where they are, in which order they learned, what stands for one cell."""

import os
from pathlib import Path

import pytest

from coin_lightning.config_folder import coin_order, conf_dir, task_nodes
from coin_lightning.errors import ConfigError, RunError
from coin_lightning.imports.folders import FoundRun, cells_of, find_runs, order_of
from coin_results import write_printed

NODES = task_nodes(conf_dir())
ALPHABET_BY_HAND = ["gqa", "imagenet", "ocrvqa", "grounding", "scienceqa", "textvqa", "vizwiz", "vqav2"]


def tree(root: Path, *folders: str) -> Path:
    for folder in folders:
        write_printed(root / folder, 50)
    return root


def found(root: Path) -> list[FoundRun]:
    return find_runs(root, NODES)[0]


def test_every_folder_of_tasks_is_a_run_at_any_depth(tmp_path: Path):
    root = tree(
        tmp_path / "results", "CoIN/LLaVA/GQA/Finetune", "CoIN/LLaVA/VizWiz/Finetune", "Qwen/GQA/VQAv2", "a/b/c"
    )
    runs, left_out = find_runs(root, NODES)
    assert {run.name: len(run.places) for run in runs} == {"CoIN/LLaVA": 2, "Qwen": 1}
    assert left_out == [root / "a/b/c"]
    (whole,) = found(root / "CoIN" / "LLaVA")
    assert whole.name == "LLaVA"


def test_multitask_is_a_run_of_its_own_and_unknown_folders_are_kept_apart(tmp_path: Path):
    root = tree(
        tmp_path / "r", *(f"x/GQA/{stage}" for stage in ("Finetune", "Multitask", "VisualGenome")), "x/CIFAR/GQA"
    )
    sequence, joint = found(root)
    assert (sequence.name, joint.name, joint.joint) == ("x", "x_multitask", True)
    assert [leaf.relative_to(root).as_posix() for leaf in sequence.unknown] == ["x/CIFAR/GQA", "x/GQA/VisualGenome"]
    alone = tree(tmp_path / "alone", "y/GQA/Multitask", "y/GQA/Zero_shot")
    assert [(run.name, run.joint, len(run.places)) for run in found(alone)] == [("y", True, 2)]


def test_links_are_followed_but_not_in_circles(tmp_path: Path):
    """Results lie where there was room."""
    store = tree(tmp_path / "store", "TextVQA/Finetune", "behind_textvqa")
    root = tree(tmp_path / "results", "ScienceQA/Finetune")
    (root / "TextVQA").symlink_to(store / "TextVQA")
    (root / "ScienceQA" / "TextVQA").symlink_to("../../store/behind_textvqa")
    (root / "ScienceQA" / "again").symlink_to(root)
    (run,) = found(root)
    places = {(place.task, place.folder.name) for place in run.places}
    assert places == {("scienceqa", "Finetune"), ("scienceqa", "TextVQA"), ("textvqa", "Finetune")}
    assert run.unknown == []


def test_results_behind_several_links_count_once(tmp_path: Path):
    root = tree(tmp_path / "results", "run_1/TextVQA/Finetune", "run_2/TextVQA/Finetune")
    (root / "latest").symlink_to(root / "run_1")
    (root / "run_1" / "other").symlink_to("../run_2")
    (root / "run_2" / "other").symlink_to("../run_1")
    assert [(run.name, len(run.places), run.unknown) for run in found(root)] == [("run_1", 1, []), ("run_2", 1, [])]


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, scan = tree(tmp_path, "GQA/Finetune", "VizWiz/Finetune"), os.scandir

    def closed(place: Path) -> object:
        if place.name == "VizWiz":
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", closed)  # rights would not keep root out
    with pytest.raises(RunError, match="VizWiz: cannot be read"):
        found(root)


def test_stages_tell_the_order(tmp_path: Path):
    names = coin_order()
    (coin,) = found(tree(tmp_path / "coin", "TextVQA/Finetune", "TextVQA/OCRVQA", "OCRVQA/Zero_shot"))
    assert order_of(coin, names, None) == names
    (authors,) = found(tree(tmp_path / "alphabet", "ImageNet/Grounding", "GQA/Finetune", "GQA/ImageNet"))
    assert order_of(authors, names, None) == ALPHABET_BY_HAND
    (alphabetical,) = found(tree(tmp_path / "alphabetical", "Grounding/ImageNet", "GQA/Finetune", "GQA/ImageNet"))
    assert order_of(alphabetical, names, None) == sorted(names)
    (both,) = found(tree(tmp_path / "both", "ImageNet/TextVQA", "GQA/Finetune", "GQA/ImageNet"))
    assert order_of(both, names, None) == ALPHABET_BY_HAND
    (neither,) = found(tree(tmp_path / "neither", "ImageNet/TextVQA", "ImageNet/GQA"))
    with pytest.raises(ConfigError, match=r"neither.*\(in which ImageNet/GQA would be.*--order"):
        order_of(neither, names, None)
    assert order_of(neither, names, ["imagenet", "gqa", "textvqa"]) == ["imagenet", "gqa", "textvqa"]
    with pytest.raises(ConfigError, match="--order: lacks imagenet, of which"):
        order_of(neither, names, ["gqa", "textvqa"])


def test_two_folders_for_one_cell_and_a_stage_without_a_row_are_refused(tmp_path: Path):
    (twice,) = found(tree(tmp_path / "twice", "GQA/Finetune", "4_GQA/HiDe-task4"))
    with pytest.raises(RunError, match=r"4_GQA/HiDe-task4 and .*GQA/Finetune both stand for gqa"):
        cells_of(twice, coin_order())
    (beyond,) = found(tree(tmp_path / "beyond", "GQA/task9"))
    with pytest.raises(RunError, match=r"GQA/task9: with 8 tasks .* there is no such stage"):
        cells_of(beyond, coin_order())


def test_a_folder_without_results_is_refused(tmp_path: Path):
    with pytest.raises(RunError, match="holds no results of CoIN's code"):
        find_runs(tmp_path, NODES)
    with pytest.raises(RunError, match="no such folder"):
        find_runs(tmp_path / "nowhere", NODES)
