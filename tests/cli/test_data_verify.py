"""The command on a very small suite: exit status, what it prints and writes, and what it remembers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from coin_lightning.cli import data_verify
from coin_lightning.cli.data_verify import composed, main, split_options, text_backbone
from coin_lightning.errors import ConfigError
from small_coin import answer_file, edit_samples, train_file, write_suite

TOLERATED = "tolerate=shared_question,shared_text"
"""The small suite asks the same in both files."""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return write_suite(tmp_path / "suite", train=6, test=3)


@pytest.fixture
def arguments(suite: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Command line for some tasks of the suite."""

    def build(*more: str, tasks: str = "gqa,grounding", scenario: str = "coin_mini") -> list[str]:
        root = "paths.coin" if scenario == "coin" else "paths.data"
        return [
            f"scenario={scenario}", "backbone=tiny", "scenario.builder=null", f"scenario.order=[{tasks}]",
            f"{root}={suite}", f"paths.features={tmp_path / 'features'}",
            f"output={tmp_path / 'out' / 'page.html'}", *more,
        ]  # fmt: skip

    return build


def test_errors_give_status_one_and_a_page(arguments, tmp_path, capsys):
    assert main(arguments()) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "error GQA test: 3 test samples with a question that training asks about the same image" in shown
    assert "Instructions_Original/GQA/test.json sample 0: as train.json sample 0" in shown
    assert "2 errors: a run may not start on these data" in shown
    assert "page.html" in shown
    assert "Not ready: coin_mini has 2 errors" in (tmp_path / "out" / "page.html").read_text()


def test_tolerated_errors_give_status_zero(arguments, tmp_path, capsys):
    assert main(arguments(TOLERATED, tasks="scienceqa,textvqa,imagenet,gqa,vizwiz,grounding,vqav2,ocrvqa")) == 0
    assert "a run may start" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "page.json").read_text())
    assert [task["task"] for task in report["tasks"]][::7] == ["scienceqa", "ocrvqa"]
    assert [task["counts"] for task in report["tasks"]] == [{"train": 6, "test": 3}] * 8
    assert (report["backbone"], report["max_length"]) == ("tiny", 1024)


def test_every_kind_of_trouble_is_said_with_file_and_sample(arguments, suite, capsys):
    train_file(suite, "gqa").write_text('[{"id": "a"')
    edit_samples(answer_file(suite, "grounding"), lambda samples: samples[1].update(answer_bbox="[0.1,0.2,1.6,0.7]"))
    (suite / "cl_dataset" / "shared" / "blue.jpg").write_bytes(b"no image")
    assert main(arguments(TOLERATED)) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "GQA/train.json: malformed JSON" in shown
    assert "Grounding/test.json sample 1: [0.1,0.2,1.6,0.7]" in shown
    assert "GQA/test.json sample 2: cl_dataset/shared/blue.jpg: image cannot be opened" in shown


def test_a_second_call_opens_no_image(arguments, monkeypatch):
    assert main(arguments(TOLERATED)) == 0
    monkeypatch.setattr("coin_lightning.tasks.image_ledger.open_image", lambda path: pytest.fail(str(path)))
    assert main(arguments(TOLERATED)) == 0


def test_real_data_are_compared_with_published_numbers(arguments, capsys):
    assert main(arguments(TOLERATED, scenario="coin")) == 0
    shown = capsys.readouterr().out
    assert "72 140" in shown
    assert "published_count" in shown


def test_the_page_goes_below_the_root_unless_told(arguments, suite, capsys):
    assert main([each for each in arguments(TOLERATED) if not each.startswith("output=")]) == 0
    assert (suite / "verify" / "Instructions_Original.html").is_file()
    assert (suite / "verify" / "Instructions_Original.json").is_file()


def test_a_page_that_cannot_be_written_does_not_change_the_answer(arguments, tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert main(arguments(TOLERATED)) == 0
    assert "page not written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "answer"),
    [
        ("scenario=coim", "scenario=coim: there is no scenario/coim.yaml; did you mean coin"),
        ("scenaro.order=[gqa]", "scenaro.order: there is no such config key"),
        ("+batches.sizes=2", "did you mean size"),
        ("tolerate=shared_questions", "no such kind of error; choose from"),
        ("tolerate=shared_image", "no such kind of error; choose from"),
        ("data.limit_train=10.5", "data.limit_train=10.5: must be a valid integer"),
        ("workers=0", "workers=0: must be a whole number from 1 on"),
        ("workers=many", "workers=many: must be"),
        ("scenario.order=[gqa,nothing]", "there is no task 'nothing'; choose from scienceqa"),
    ],
)
def test_what_cannot_be_checked_gives_status_two(arguments, capsys, wrong, answer):
    assert main(arguments(wrong)) == 2
    assert answer in " ".join(capsys.readouterr().err.split())


def test_a_data_set_that_cannot_be_built_gives_status_two(tmp_path, capsys):
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "file").write_text("something else")
    assert main(["backbone=tiny", f"paths.data={tmp_path / 'else'}", f"paths.features={tmp_path / 'features'}"]) == 2
    assert "is no CoIN-mini" in " ".join(capsys.readouterr().err.split())


def test_nothing_at_all_where_the_data_should_be(arguments, tmp_path, capsys):
    assert main(arguments(f"paths.data={tmp_path / 'nowhere'}")) == 1
    assert "folder is missing" in " ".join(capsys.readouterr().out.split())


def test_own_options_and_overrides_are_told_apart():
    options, overrides = split_options(
        ["workers=3", "seed=1", "output=a/b.html", "tolerate=image,samples", "+x.y=[1,2]"]
    )
    assert (options.workers, options.output, options.tolerate) == (3, Path("a/b.html"), ("image", "samples"))
    assert overrides == ["seed=1", "+x.y=[1,2]"]
    with pytest.raises(ConfigError):
        split_options(["workers=-1"])


def test_composing_leaves_hydra_as_it_was(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COIN_DATA", raising=False)
    before = HydraConfig.instance().cfg
    config = composed(["scenario=coin"])
    assert config.data.root == str(tmp_path / "data" / "coin")
    assert HydraConfig.instance().cfg is before
    assert "hydra" not in config


def test_weights_are_left_out_where_the_loader_can(monkeypatch):
    asked = {}
    monkeypatch.setattr(data_verify, "build", lambda node, **more: asked.update(more, target=node._target_))
    text_backbone(composed(["backbone=llava_1_5_7b"]))
    assert asked == {"weights": False, "target": "coin_lightning.backbones.loading.load_backbone"}
    asked.clear()
    text_backbone(composed(["backbone=tiny"]))
    assert asked == {"target": "coin_lightning.backbones.tiny.load"}
