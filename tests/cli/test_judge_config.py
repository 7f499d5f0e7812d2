"""Which judge a command line asks for."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.errors import HydraException

from coin_lightning.cli.build import build
from coin_lightning.cli.config_errors import explain
from coin_lightning.cli.judge_config import judge_config
from coin_lightning.config_folder import conf_dir
from coin_lightning.errors import ConfigError
from coin_lightning.evaluation.judges.embedding import EmbeddingJudge
from coin_lightning.evaluation.judges.hf import HFJudge
from coin_lightning.evaluation.judges.openai import OpenAIJudge

OWN = {"_target_": "coin_lightning.evaluation.judges.embedding.EmbeddingJudge", "name": "own", "batch_size": 7}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path


def write(run: Path, **config: Any) -> None:
    (run / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("option", "kind"),
    [("embedding", EmbeddingJudge), ("hf", HFJudge), ("hf_published", HFJudge), ("openai", OpenAIJudge)],
)
def test_every_option_of_the_group_makes_its_judge(run: Path, option: str, kind: type):
    judge = build(judge_config(run, [f"judge={option}"]))
    assert type(judge) is kind
    assert judge.variant == ("reference" if option == "hf_published" else "strict")


def test_every_yaml_of_the_group_is_tried_above():
    names = {file.stem for file in (conf_dir() / "judge").glob("*.yaml")}
    assert names == {"none", "embedding", "hf", "hf_published", "openai"}


def test_no_judge_is_none(run: Path):
    assert build(judge_config(run, ["judge=none"])) is None


def test_the_published_settings():
    node = judge_config(Path("nowhere"), ["judge=hf_published"])
    assert node.model == "Qwen/Qwen1.5-32B-Chat"
    assert (node.temperature, node.top_p, node.repetition_penalty, node.max_new_tokens) == (0.7, 0.8, 1.05, 20)
    assert node.seed is None


def test_options_are_set(run: Path):
    node = judge_config(run, ["judge=openai", "judge.model=some/model", "judge.extra={n: 1}", "judge.max_requests=5"])
    assert (node.model, node.extra, node.max_requests) == ("some/model", {"n": 1}, 5)


def test_the_runs_protocol_says_how_replies_are_read(run: Path):
    write(run, protocol={"judge_variant": "reference"})
    assert judge_config(run, ["judge=embedding"]).variant == "reference"
    assert judge_config(run, ["judge=embedding", "judge.variant=strict"]).variant == "strict"
    write(run, protocol={"name": "from an older version"})
    assert judge_config(run, ["judge=embedding"]).variant == "strict"


def test_without_a_choice_the_runs_own_judge_is_taken(run: Path):
    write(run, judge=OWN)
    judge = build(judge_config(run, []))
    assert (judge.name, judge.batch_size) == ("own", 7)
    assert build(judge_config(run, ["judge.batch_size=9"])).batch_size == 9


@pytest.mark.parametrize(
    "config", [{}, {"judge": None}, {"judge": {"_target_": "coin_lightning.evaluation.judges.base.no_judge"}}]
)
def test_a_run_without_a_judge_asks_for_one(run: Path, config: dict[str, Any]):
    write(run, **config)
    with pytest.raises(ConfigError, match="no judge of its own; say judge=embedding"):
        judge_config(run, [])


@pytest.mark.parametrize(
    "override", ["method=lora", "judges=x", "seed=1", "scenario.order=coin", "+experiment=moelora_llava"]
)
def test_nothing_but_the_judge_can_be_set(run: Path, override: str):
    with pytest.raises(ConfigError, match=r"only judge=\.\.\. and judge.<key>=... can be set"):
        judge_config(run, ["judge=embedding", override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("judge=embeding", "there is no judge/embeding.yaml; did you mean embedding"),
        ("judge.batchsize=3", "judge.batchsize: there is no such config key; did you mean judge.batch_size"),
    ],
)
def test_a_wrong_word_is_named_with_the_nearest(run: Path, override: str, message: str):
    overrides = [override] if override.startswith("judge=") else ["judge=embedding", override]
    with pytest.raises(HydraException) as refusal:
        judge_config(run, overrides)
    assert message in str(explain(refusal.value, conf_dir()))


def test_a_value_of_another_kind_is_refused(run: Path):
    with pytest.raises(ConfigError, match=r'judge\.batch_size="many": must be a valid integer'):
        judge_config(run, ["judge=embedding", "judge.batch_size=many"])


def test_an_option_that_the_own_judge_does_not_have_is_named(run: Path):
    write(run, judge=OWN)
    with pytest.raises(ConfigError, match=r"judge\.temperature: .*EmbeddingJudge has no such option"):
        judge_config(run, ["judge.temperature=1"])
