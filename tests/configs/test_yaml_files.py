"""Every yaml of `conf/` composes, every `_target_` in it binds, and every wrong name is refused."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from coin_lightning.backbones.base import Backbone
from coin_lightning.cli.build import build, check_config, resolve, targets
from coin_lightning.cli.config_errors import explain
from coin_lightning.cli.facts import adapter_text
from coin_lightning.cli.trainers import protocol_of
from coin_lightning.config_folder import conf_dir
from coin_lightning.continual.scenario import ordered
from coin_lightning.errors import ConfigError
from coin_lightning.reporting.published import published_rows
from small_coin import answer_file, edit_samples, overrides, write_suite

CONF = conf_dir()
FILES = sorted(file.relative_to(CONF) for file in CONF.rglob("*.yaml"))
ADDED = ("experiment", "debug")
SLURM = Path("hydra/launcher/slurm.yaml")
OPTIONS = [file for file in FILES if len(file.parts) > 1 and not (len(file.parts) == 2 and file.stem.startswith("_"))]
ROWS = [file for file in FILES if file.parts[:2] == ("experiment", "coin") and not file.stem.startswith("_")]
"""Experiment files for rows of the published tables; `_` starts what they share."""


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("COIN_LIGHTNING_CACHE", str(tmp_path))
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before


def composed(*overrides: str, folder: Path = CONF) -> DictConfig:
    """What a run with these overrides would get."""
    with initialize_config_dir(str(folder), version_base="1.3"):
        config = compose("train", overrides=list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(config)  # keeps a copy of its part
    with open_dict(config):
        del config["hydra"]
    return config


def override(file: Path) -> str:
    """The word on the command line that chooses a file."""
    group, option = file.parts[0], "/".join(file.with_suffix("").parts[1:])
    if group == "task":
        return f"+task@scenario.tasks={option}"
    if len(file.parts) == 3 and group == "hydra":  # hydra/launcher=...
        return f"{group}/{option.replace('/', '=')}"
    return f"{'+' if group in ADDED else ''}{group}={option}"


@cache
def config_with(file: Path) -> DictConfig:
    """The config with this file chosen, as a run has it; not to be changed."""
    config = composed(override(file))
    resolve(config)
    return config


def test_no_file_is_left_out():
    shared = {file for file in FILES if file.name in ("_base.yaml", "_coin_tasks.yaml")}  # composed by every other
    assert set(OPTIONS) == set(FILES) - {Path("train.yaml")} - shared
    assert len(OPTIONS) > 30


@pytest.mark.parametrize("file", OPTIONS, ids=str)
def test_it_composes_and_binds(file: Path):
    if file == SLURM:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    config = config_with(file)
    check_config(config)
    found = dict(targets(config))
    assert {"backbone", "adapter", "method", "optimizer", "trainer", "scenario"} <= set(found)
    assert len(found) > 15


def test_every_published_row_has_an_experiment_or_a_reason_and_the_other_way_round():
    rows = published_rows()
    named = {row.experiment: row.key for row in rows.values() if row.experiment is not None}
    found = {f"coin/{file.stem}": config_with(file).published for file in ROWS}
    assert found == named
    assert len(found) >= 27
    for row in rows.values():
        assert row.experiment or row.missing or row.same_run_as in rows


@pytest.mark.parametrize("file", ROWS, ids=str)
def test_a_row_is_what_its_published_protocol_says(file: Path):
    config, row = config_with(file), published_rows()[config_with(file).published]
    assert config.experiment_name == f"coin_{file.stem}"
    assert config.backbone.name == row.protocol["backbone"]
    assert config.scenario.joint == (row.protocol["order"] == "joint")
    assert config.scenario.train == (row.protocol["method"] is not None)
    if config.scenario.train and not config.scenario.joint:
        assert ordered(list(config.scenario.tasks), config.scenario.order, 0) == row.protocol["order"]
    fields = ("evaluation_frame", "boxes", "scorers", "bwt_divisor")
    assert {name: config.protocol[name] for name in fields} == {name: row.protocol[name] for name in fields}
    for name, ours in {"instructions": config.data.instructions, "fraction": config.data.fraction}.items():
        assert row.protocol[name] in (ours, None) or str(row.protocol[name]).startswith(
            ("unknown", "Instructions_Qwen")
        )
    subset = row.protocol["test_subset"]
    if not subset.startswith("unknown"):
        grounding = "full" if "Grounding" in subset else 4000
        assert config.protocol.test_subset.get("grounding", "full") == grounding
    if row.protocol["method"] is not None:
        if not str(row.protocol["global_batch"]).startswith("unknown"):
            assert config.protocol.global_batch == row.protocol["global_batch"]
        if not row.protocol["adapter"].startswith("unknown"):
            assert adapter_text(config.adapter) == row.protocol["adapter"]
        assert config.method.name == row.protocol["method"]
        assert row.protocol["schedule"] in config.schedule._target_
        assert f"adapter {config.optimizer.lr:g}" in row.protocol["learning_rates"]


def test_names_of_experts_ranks_and_volumes_are_their_values():
    for file in ROWS:
        config = config_with(file)
        values = {"e": config.adapter.get("num_experts"), "r": config.adapter.rank, "v": 100 * config.data.fraction}
        for letter, number in re.findall(r"_([erv])(\d{2,}|[248])(?=_|$)", file.stem.removeprefix("minigpt_v2")):
            assert round(values[letter]) == int(number)


@pytest.mark.parametrize(
    ("row", "devices", "sizes"),
    [  # per-device batches of CoIN's scripts, without accumulation
        ("llava_7b_lora", 7, [16, 16, 20, 8, 16, 8, 10, 12]),
        ("llava_7b_lora_v60", 7, [16, 16, 20, 8, 16, 8, 10, 12]),
        ("llava_7b_moelora_e8", 8, [12, 12, 16, 6, 12, 6, 6, 8]),
        ("llava_7b_lora_r256", 8, [14, 14, 16, 6, 14, 6, 8, 10]),
        ("llava_13b_lora", 8, [14, 14, 16, 6, 14, 6, 8, 10]),
        ("minigpt_v2_lora", 8, [16, 16, 16, 2, 16, 2, 2, 24]),
    ],
)
def test_the_rows_learn_from_the_published_number_of_rows_per_step(row: str, devices: int, sizes: list[int]):
    config = config_with(Path(f"experiment/coin/{row}.yaml"))
    assert [task.batches.size for task in config.scenario.tasks.values()] == sizes
    assert list(config.scenario.tasks) == list(config.protocol.global_batch)
    assert list(config.protocol.global_batch.values()) == [devices * size for size in sizes]


def test_the_diverse_row_learns_ocr_vqa_on_six_devices():
    """By the scripts (fa896c9, `Train_new`): seven devices for all tasks but the last, which has 6 x 12."""
    config = config_with(Path("experiment/coin/llava_7b_lora_diverse.yaml"))
    sizes = [task.batches.size for task in config.scenario.tasks.values()]
    assert sizes == [16, 16, 20, 8, 16, 8, 10, 12]
    assert list(config.protocol.global_batch.values()) == [112, 112, 140, 56, 112, 56, 70, 72]
    assert [7 * size for size in sizes[:-1]] + [6 * sizes[-1]] == [112, 112, 140, 56, 112, 56, 70, 72]


@pytest.mark.parametrize(("row", "accumulation", "together"), [("qwen_vl_lora", 1, 40), ("qwen_vl_chat_lora", 8, 320)])
def test_qwens_rows_learn_from_the_scripts_number_and_from_the_chat_model(row: str, accumulation: int, together: int):
    """Five samples on each of eight devices (e2fcbf3 and 852258a, scripts/Qwen/Train)."""
    config = config_with(Path(f"experiment/coin/{row}.yaml"))
    assert {task.batches.size for task in config.scenario.tasks.values()} == {5}
    assert config.protocol.global_batch == 5 * 8 * accumulation == together
    assert config.protocol.starting_weights == "instruction_tuned"
    assert published_rows()[config.published].protocol["starting_weights"] == "instruction_tuned"


@pytest.mark.parametrize(
    ("row", "limits"),
    [
        ("llava_7b_zero_shot", [1024, 128, 1024, 128, 128, 1024, 1024, 128]),
        ("llava_7b_moelora_e8", [1024, 128, 1024, 128, 128, 1024, 1024, 128]),
        ("llava_13b_lora", [1024, 128, 1024, 128, 128, 1024, 1024, 128]),
        ("qwen_vl_lora", [30] * 8),
        ("minigpt_v2_lora", [100] * 8),
    ],
)
def test_the_rows_answer_with_as_many_tokens_as_the_published_code_allows(row: str, limits: list[int]):
    tasks = config_with(Path(f"experiment/coin/{row}.yaml")).scenario.tasks
    assert [task.answers.max_new_tokens for task in tasks.values()] == limits


@pytest.mark.parametrize(
    ("row", "devices", "size", "accumulation", "together"),
    [("llava_7b_multitask", 7, 8, 1, 56), ("llava_7b_multitask_diverse", 6, 8, 1, 48),
     ("minigpt_v2_multitask", 7, 2, 8, 112),
     ("qwen_vl_multitask", 8, 4, 1, 32), ("qwen_vl_chat_multitask", 8, 4, 8, 256)],
)  # fmt: skip
def test_joint_rows_learn_from_the_scripts_number(row: str, devices: int, size: int, accumulation: int, together: int):
    config = config_with(Path(f"experiment/coin/{row}.yaml"))
    assert (config.scenario.batches.size, config.protocol.global_batch) == (size, together)
    assert devices * size * accumulation == together


@pytest.mark.parametrize("file", ROWS, ids=str)
def test_a_row_has_a_number_for_all_that_it_learns(file: Path):
    config = config_with(file)
    learned = ["joint"] if config.scenario.joint else list(config.scenario.tasks)
    protocol_of(config).check_learned(learned if config.scenario.train else [])


def test_a_sequence_that_becomes_joint_gets_a_number_as_its_message_says():
    words = "+experiment=coin/llava_7b_lora", "scenario.joint=true"
    with pytest.raises(ConfigError, match=r"learned: joint; set protocol\.global_batch=N, or \+protocol\.glob"):
        protocol_of(composed(*words)).check_learned(["joint"])
    for remedy in ("protocol.global_batch=56", "+protocol.global_batch.joint=56"):
        protocol = protocol_of(composed(*words, remedy))
        protocol.check_learned(["joint"])
        assert protocol.global_batch_of("joint") == 56


def test_a_row_may_be_run_by_the_other_protocol():
    config = composed("+experiment=coin/llava_7b_lora", "protocol=as_intended")
    assert config.protocol.name == "as_intended"
    assert config.schedule._target_.endswith(".cosine")
    assert config.protocol.global_batch.gqa == 56


def test_the_name_of_the_main_row_stays():
    main, alias = composed("+experiment=coin/llava_7b_moelora_e8"), composed("+experiment=coin_llava_7b")
    assert {key for key in main if main[key] != alias[key]} == {"experiment_name", "run_dir"}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_its_first_line_says_what_it_is_for(file: Path):
    lines = [line for line in (CONF / file).read_text().splitlines() if line != "# @package _global_"]
    assert lines[0].startswith("# ")
    assert len(lines[0]) > 12


@pytest.mark.parametrize("method", sorted(file.stem for file in (CONF / "method").glob("*.yaml")))
def test_a_method_chooses_its_adapter_and_values_can_still_be_set(method: str):
    config = composed(f"method={method}", "adapter.rank=24", "+experiment=moelora_llava")
    assert config.adapter._target_.endswith(".moelora" if method == "moelora" else ".lora")
    assert config.adapter.rank == 24
    assert config.method.name == method


def test_a_protocol_chooses_its_schedule():
    assert composed("protocol=as_published").schedule._target_.endswith(".log_warmup_constant")
    assert composed("protocol=as_published").evaluation.scorers == "reference"
    assert composed("protocol=as_published", "schedule=constant").schedule._target_.endswith(".constant")


def test_the_folder_of_a_run_has_no_time_stamp():
    first, second = composed("adapter.rank=16"), composed("adapter.rank=16")
    assert first.run_dir == second.run_dir
    assert first.run_dir.endswith("/moelora_llava_smol/adapter.rank=16/seed_0")


def refused(*overrides: str) -> str:
    """The message that a user gets for overrides that Hydra cannot compose."""
    with pytest.raises(HydraException) as caught:
        composed(*overrides)
    return str(explain(caught.value, CONF))


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("adapter.rnk=3", "adapter.rnk: there is no such config key; did you mean adapter.rank"),
        ("optimzer.lr=1", "optimzer.lr: there is no such config key; did you mean optimizer.lr"),
        ("sed=1", "sed: there is no such config key; did you mean seed"),
        ("methd=lora", "methd: there is no such config key; did you mean method"),
        ("method=moelra", "method=moelra: there is no method/moelra.yaml; did you mean moelora"),
        ("+experiment=coin/llava_7b_lra", "there is no experiment/coin/llava_7b_lra.yaml; did you mean llava_7b_lora"),
        ("+experiment=moelora_lava", "there is no experiment/moelora_lava.yaml; did you mean moelora_llava"),
        ("scenario=zzz", "there is no scenario/zzz.yaml; choose from coin, coin_mini"),
        (
            "scenario.tasks.gqa.data.rot=1",
            "data.rot: there is no such config key; did you mean scenario.tasks.gqa.data.root?",
        ),
        ("scenario.tasks.gqq.data.root=1", "there is no such config key; did you mean scenario.tasks.gqa?"),
    ],
)
def test_a_wrong_word_on_the_command_line_is_named_with_the_nearest(typed: str, answer: str):
    assert answer in refused(typed)


@pytest.mark.parametrize("found", ["scenario.tasks.gqa.data.source", "data.source", "scenario.batches", "seed"])
def test_a_key_below_a_reference_or_a_value_is_told_with_what_to_set(found: str):
    assert refused(f"{found}.root=/data") == (
        f"{found}.root: there is no such config key; {found} is a reference or a single value, so it has no root of "
        f"its own: set what it refers to, or all of it with {found}=..."
    )
    if found.endswith("source"):  # the remedy works
        own = composed(f"{found}={{_target_: coin_lightning.tasks.sources.JsonSource, root: /own}}")
        check_config(own)
        assert own.scenario.tasks.gqa.data.source.root == "/own"


@pytest.mark.parametrize(
    ("added", "answer"),
    [
        ("+adapter.rnak=16", r"adapter\.rnak: coin_lightning\S+moelora has no such option; did you mean rank"),
        ("+optimizer.learning_rat=1", r"optimizer\.learning_rat: torch.optim.AdamW has no such option"),
        ("+batches.sizes=2", r"batches\.sizes: .* did you mean size"),
        ("+scenario.tasks.gqa.answers.max_token=2", r"tasks\.gqa\.answers\.max_token: .* did you mean max_new_tokens"),
        ("+protocol.projectr=frozen", r"protocol\.projectr: there is no such config key; did you mean projector"),
        ("+sed=1", r"sed: there is no such config key; did you mean seed"),
        ("+paths.rums=x", r"paths\.rums: there is no such config key; did you mean runs"),
        ("method._target_=coin_lightning.methods.nope.Method", r"method\._target_: .*nope.Method cannot be imported"),
    ],
)
def test_a_key_that_nothing_reads_is_refused(added: str, answer: str):
    with pytest.raises(ConfigError, match=answer):
        check_config(composed(added))


def test_a_typo_in_an_experiment_yaml_is_refused(tmp_path: Path):
    import shutil

    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    (conf / "experiment" / "wrong.yaml").write_text(
        "# @package _global_\n# Three typos.\nadapter:\n  rnak: 16\ndata:\n  limit_tran: 4\nexperimentname: x\n"
    )
    with pytest.raises(ConfigError) as caught:
        check_config(composed("+experiment=wrong", folder=conf))
    lines = str(caught.value).splitlines()
    assert len(lines) == 3  # all of them together
    assert "did you mean rank" in "".join(lines)
    assert "did you mean limit_train" in "".join(lines)
    assert "did you mean experiment_name" in "".join(lines)


def test_a_missing_option_is_named():
    config = composed()
    with open_dict(config):
        del config.scenario["name"]
    with pytest.raises(ConfigError, match=r"scenario\.name: .*Scenario needs this option"):
        check_config(config)


def test_a_reference_to_nothing_is_named():
    config = composed()
    OmegaConf.update(config, "seed", "${nowhere}")
    with pytest.raises(ConfigError, match="nowhere"):
        check_config(config)


@pytest.mark.parametrize(("source", "name"), [("json", "JsonSource"), ("datasets", "DatasetsSource")])
def test_a_source_serves_all_tasks_of_a_scenario(source: str, name: str, tmp_path: Path):
    scenario = build(composed(f"source={source}", "scenario=coin", f"paths.coin={tmp_path}").scenario)
    sources = {task.source for task in scenario.tasks}
    assert len(scenario.tasks) == 8
    assert {type(each).__name__ for each in sources} == {name}
    assert str(getattr(sources.pop(), {"json": "root", "datasets": "path"}[source])) == str(tmp_path)


def test_a_task_with_a_root_of_its_own_asks_the_questions_that_lie_there(tmp_path: Path, backbone: Backbone):
    """Images alone would be those of one data set, and the questions those of another, without a word."""
    suite, other = write_suite(tmp_path / "suite"), write_suite(tmp_path / "other")
    edit_samples(answer_file(other, "gqa"), lambda samples: samples[0].update(text="gqa: who?"))
    own = [f"scenario.tasks.gqa.data.root={other}", "scenario.order=[gqa,vqav2]"]
    words = [word for word in overrides(suite, tmp_path / "features", tmp_path / "run") if "scenario.order" not in word]
    config = composed(*words, *own)
    resolve(config)  # as every command does
    scenario = build(config.scenario)
    scenario.prepare(backbone, seed=0)
    gqa, vqav2 = scenario.tasks
    assert gqa.test_samples[0].text == "gqa: who?"
    assert gqa.test_file.is_relative_to(other)
    assert gqa.describe()["folder"] == str(other / "cl_dataset")
    assert vqav2.test_samples[0].text.startswith("vqav2: what is 0?")
    assert vqav2.test_file.is_relative_to(suite)


@pytest.mark.parametrize(("source", "key"), [("json", "root"), ("datasets", "path")])
def test_a_source_with_a_place_of_its_own_stays_there(source: str, key: str):
    """Both sources follow the root of a task, unless they say another themselves; what a run keeps says so, too."""
    words = [f"source={source}", "data.root=/data", "scenario.tasks.gqa.data.root=/other"]
    for more, expected in (([], ["/other", "/data"]), ([f"source.{key}=/apart"], ["/apart", "/apart"])):
        config = composed(*words, *more)
        check_config(config)
        resolve(config)
        kept = OmegaConf.to_container(config)["scenario"]["tasks"]
        assert [kept[task]["data"]["source"][key] for task in ("gqa", "vqav2")] == expected
    assert composed("data.source=null", *words[1:]).scenario.tasks.gqa.data.source is None  # JSON below the task's root
