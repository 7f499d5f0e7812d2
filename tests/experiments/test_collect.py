"""The tables of committed results, from real runs of two methods."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from coin_lightning.errors import RunError
from coin_lightning.metrics import image_clusters
from coin_lightning.metrics.paired import PairedDifference
from coin_lightning.reporting.run_matrix import load_matrix
from results import without_manifests

RESULTS = Path(__file__).parents[2] / "experiments" / "results"


@pytest.fixture(scope="module")
def collecting() -> Iterator[ModuleType]:
    """The script as running it imports it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RESULTS))
        yield __import__("collect")
    sys.modules.pop("collect")


@pytest.fixture(scope="module")
def runs(place) -> Path:
    """Both methods in two orders; LoRA also jointly, and alone on one task."""
    sequences = {"coin": ("scienceqa,textvqa",), "back": ("textvqa,scienceqa",)}
    bounds = {"joint": ("scienceqa,textvqa", "scenario.joint=true"), "alone": ("textvqa",)}
    for method, wanted in {"moelora": sequences, "lora": sequences | bounds}.items():
        for kind, (tasks, *more) in wanted.items():
            more += [f"method={method}", "data.limit_test=6"]
            status, text = place.runs.run(place.command(f"collected/{method}_{kind}", *more, tasks=tasks))
            assert status == 0, text
    return place.folder / "collected"


@pytest.fixture(scope="module")
def collected(collecting, runs, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_clusters, "FEWEST_IMAGES", 2)  # the suite has no more
        collecting.main([str(runs), str(folder)])
    return folder


def scores(runs: Path, name: str) -> list[list[float | None]]:
    return json.loads((runs / name / "matrix.json").read_text())["scores"]


def test_every_matrix_is_kept_under_a_name_of_its_own(collected, runs):
    names = {"lora": ["seed_0", "reversed_seed_0", "joint_seed_0", "alone_textvqa_seed_0"]}
    names["moelora"] = names["lora"][:2]
    kept = {file.stem for file in collected.glob("*.json")} - {"summary"}
    assert kept == {f"{method}_{name}" for method, listed in names.items() for name in listed}
    assert (collected / "lora_reversed_seed_0.json").read_bytes() == (runs / "lora_back/matrix.json").read_bytes()
    assert (collected / "forgetting.png").read_bytes().startswith(b"\x89PNG")


def test_tables_say_what_the_matrices_say(collected, runs):
    text = (collected / "summary.md").read_text()
    rows = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in text.splitlines() if line
    }
    lora, moelora = scores(runs, "lora_coin"), scores(runs, "moelora_coin")
    joint, alone = scores(runs, "lora_joint")[-1], scores(runs, "lora_alone")[-1]
    guessing = json.loads((runs / "lora_coin/matrix.json").read_text())["guesses"]
    cells = dict(zip(("guess", "zero", "ours", "our bounds", "theirs", "their bounds"), rows["TextVQA"], strict=True))
    assert cells["guess"] == f"{guessing['textvqa']['score']:.1f}"
    assert cells["zero"] == f"{lora[0][1]:.1f}"
    assert {cells["ours"], cells["theirs"]} == {f"{m[2][1]:.1f} / {m[2][1]:.1f}" for m in (lora, moelora)}
    assert {cells["our bounds"], cells["their bounds"]} == {f"{alone[0]:.1f} / {joint[1]:.1f}", "- / -"}
    assert len(rows["reversed, 0"]) == 2
    assert f"{sum(scores(runs, 'lora_back')[-1]) / 2:.1f} / " in " ".join(rows["reversed, 0"])


def test_differences_are_those_of_the_matrices(collected, runs):
    found = json.loads((collected / "summary.json").read_text())["paired"]
    ends = [[sum(scores(runs, f"{m}_{kind}")[-1]) / 2 for kind in ("coin", "back")] for m in ("moelora", "lora")]
    gaps = [ours - theirs for ours, theirs in zip(*ends, strict=True)]
    end = found["at the end of the sequence"]
    assert sorted(end["runs"]) == pytest.approx(sorted(gaps))
    assert end["mean"] == pytest.approx(sum(gaps) / 2)
    assert end["images"][0] <= end["mean"] <= end["images"][1]
    own = [
        [sum(m[k][k - 1] for k in (1, 2)) / 2 for kind in ("coin", "back") if (m := scores(runs, f"{method}_{kind}"))]
        for method in ("moelora", "lora")
    ]
    learned = found["right after each task's training"]["runs"]
    assert sorted(learned) == pytest.approx(sorted(ours - theirs for ours, theirs in zip(*own, strict=True)))
    assert any(learned) or any(end["runs"])  # the methods differ somewhere, so that this can fail


def test_further_orders_are_put_beside_what_is_there(collecting, collected, runs, tmp_path, monkeypatch):
    """Of the order that was there only the matrices are left."""
    monkeypatch.setattr(image_clusters, "FEWEST_IMAGES", 2)
    folder, added = tmp_path / "results", tmp_path / "added"
    folder.mkdir()
    for method in ("lora", "moelora"):
        shutil.copy(collected / f"{method}_seed_0.json", folder)
        shutil.copytree(runs / f"{method}_back", added / method)
    collecting.main([str(added), str(folder), "--orders"])
    found, whole = (json.loads((place / name).read_text()) for place, name in
                    ((folder, "orders.json"), (collected, "summary.json")))  # fmt: skip
    end = "at the end of the sequence"
    ends = {kind: [sum(scores(runs, f"{m}_{kind}")[-1]) / 2 for m in ("moelora", "lora")] for kind in ("coin", "back")}
    gaps = {kind: ours - theirs for kind, (ours, theirs) in ends.items()}
    assert sorted(found["by_pair"][end]) == pytest.approx(sorted(gaps.values()))
    assert sorted(found["by_pair"][end]) == pytest.approx(sorted(whole["paired"][end]["runs"]))
    assert found["paired"][end]["runs"] == pytest.approx([gaps["back"]])
    text = (folder / "orders.md").read_text()
    assert text.count("| coin, 0 |") == text.count("| reversed, 0 |") == 1
    assert f"| {sum(gaps.values()) / 2:+.1f} |" in text
    file = folder / "lora_seed_0.json"
    content = json.loads(file.read_text())
    content["protocol"]["epochs"] = 77
    file.write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"added.lora: has another protocol than lora_seed_0 in .*results"):
        collecting.further_orders(added, folder)
    shutil.rmtree(added / "lora")
    with pytest.raises(RunError, match="the same order and seed"):
        collecting.further_orders(added, tmp_path / "other")
    assert not (tmp_path / "other").exists()  # what is refused leaves nothing


def test_bounds_are_replaced_and_what_is_known_of_sequences_stays(collecting, collected, runs, tmp_path):
    folder, added = tmp_path / "results", tmp_path / "added"
    shutil.copytree(collected, folder)
    shutil.copytree(runs / "lora_joint", added / "joint")
    without_manifests(added / "joint")
    file = added / "joint" / "matrix.json"
    content = json.loads(file.read_text())
    content["scores"][-1][1] = 12.5
    file.write_text(json.dumps(content))
    collecting.main([str(added), str(folder), "--bounds"])
    before, after = ((place / "summary.md").read_text().splitlines() for place in (collected, folder))
    alone, joint = scores(runs, "lora_alone")[-1][0], scores(runs, "lora_joint")[-1][1]
    assert joint != 12.5
    at = next(at for at, line in enumerate(before) if line.startswith("| TextVQA"))
    cells = before[at].split(" | ")
    assert cells[4] == f"{alone:.1f} / {joint:.1f}"
    cells[4] = f"{alone:.1f} / 12.5"
    assert after == [*before[:at], " | ".join(cells), *before[at + 1 :]] != before
    assert (folder / "summary.json").read_bytes() == (collected / "summary.json").read_bytes()
    assert json.loads((folder / "lora_joint_seed_0.json").read_text())["scores"][-1][1] == 12.5
    told = folder / "summary.md"  # as where further orders were added with tables of their own
    told.write_text("".join(line for line in told.read_text().splitlines(True) if not line.startswith("| reversed")))
    collecting.main([str(added), str(folder), "--bounds"])
    assert told.read_text().splitlines() == [line for line in after if not line.startswith("| reversed")] != after
    content["protocol"]["schedule"] = "constant"
    file.write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"added.joint: has another protocol than lora_.*seed_0.* in .*results"):
        collecting.bounds(added, folder)
    with pytest.raises(RunError, match="sequences are no bounds"):
        collecting.bounds(runs, folder)


def test_a_small_p_is_not_printed_as_none(collecting):
    least = PairedDifference(mean=-2.5, images=(-4.0, -1.0), runs=(-2.4, -2.6), p=2 / 2**11, error=0.7)
    line = collecting.paired_table({"at the end": least}).splitlines()[-1]
    assert line == "| at the end | -2.5 | -4.0 to -1.0 | -2.4, -2.6 | 0.00098 |"


def test_runs_with_other_test_samples_are_not_paired(collecting, runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    without_manifests(tmp_path / "runs/lora_coin")
    file = tmp_path / "runs/lora_coin/task_02_textvqa/records/textvqa.jsonl"
    first, *others = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*others, first]))
    found = collecting.finished(tmp_path / "runs")
    with pytest.raises(RunError, match="textvqa: the runs have other test samples"):
        collecting.paired(found, "acc")


def test_two_runs_of_one_name_and_unfinished_ones_are_refused(collecting, runs, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(runs / "lora_coin", tmp_path / "twice" / name)
    with pytest.raises(RunError, match=r"b and .*a are both lora_seed_0; remove one"):
        collecting.finished(tmp_path / "twice")
    without_manifests(tmp_path / "twice" / "b")
    file = tmp_path / "twice" / "b" / "matrix.json"
    content = json.loads(file.read_text())
    content["scores"][-1] = [None, None]
    file.write_text(json.dumps(content))
    with pytest.raises(RunError, match="run is not finished"):
        collecting.finished(tmp_path / "twice")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(RunError, match=r"no matrix.json of a sequence.*run experiments/coin_mini.sh"):
        collecting.whole(tmp_path / "nothing", tmp_path / "out")


@pytest.mark.parametrize("folder", ["coin_mini", "short_sweep", "sweep_experts_rank"])
def test_committed_matrices_can_stand_beside_new_runs(folder: str):
    """Their answers are gone: who gives a rule another version shows that it scores these alike, or makes new ones."""
    files = [file for file in (RESULTS / folder).glob("*_*.json") if "versions" in json.loads(file.read_text())]
    assert len(files) > 5
    tasks = RESULTS.parents[1] / "conf" / "task"
    now = {file.stem: yaml.safe_load(file.read_text())[file.stem]["version"] for file in tasks.glob("[a-z]*.yaml")}
    for matrix in map(load_matrix, files):
        assert matrix.versions == {task: now[task] for task in matrix.tasks}
