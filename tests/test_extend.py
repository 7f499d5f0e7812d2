"""`docs/extend.md`: its files are written as they stand there and its command is run, killed and continued."""

import json
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPVisionConfig, LlamaConfig, VipLlavaConfig, VipLlavaForConditionalGeneration

sys.path.insert(0, str(Path(__file__).parent / "backbones"))

import small_families

from coin_lightning.backbones.loading import load_backbone
from coin_lightning.backbones.prompts import Turn
from coin_lightning.methods.base import HOOKS

PAGE = (Path(__file__).parents[1] / "docs" / "extend.md").read_text()
FILES = dict(re.findall(r"`([\w/]+\.(?:py|yaml))`:[^\n]*\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
COMMAND, OF_TASK, SCORE, OF_FAMILY = re.findall(r"```bash\nPYTHONPATH=\. python -m coin_lightning (.*?)\n```", PAGE)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    assert set(FILES) == {
        "mine/l2.py", "conf/plugin/l2.yaml", "mine/words.py", "conf/task/captions.yaml", "mine/vip_llava.py",
        "conf/backbone/vip_llava_7b.yaml",
    }  # fmt: skip
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def words_of(command: str, project: Path) -> list[str]:
    return [str(project / "conf") if word == "conf" else word for word in shlex.split(command)]


def run(place, project: Path, name: str, *more: str) -> tuple[int, str]:
    words = words_of(COMMAND, project)
    given = {word.lstrip("+").split("=")[0] for word in words}
    small = [word for word in place.short(name, "method=lora") if word.split("=")[0] not in given]
    return place.runs.run([*words, *small, *more], PYTHONPATH=str(project))


@pytest.fixture(scope="module")
def extended(place, project) -> Path:
    """A run of the page's plugin."""
    status, text = run(place, project, "extended")
    assert status == 0, text
    return place.folder / "extended"


def test_the_plugin_runs_is_killed_and_goes_on(place, project, extended):
    assert run(place, project, "extended_killed", *place.kill(2, "train", 3))[0] == -signal.SIGKILL
    status, text = run(place, project, "extended_killed")
    assert status == 0, text
    folders = [folder / "task_02_textvqa" for folder in (extended, place.folder / "extended_killed")]
    files = [(folder / "adapter" / "adapter_model.safetensors").read_bytes() for folder in folders]
    assert files[0] == files[1]
    memory = json.loads((folders[0] / "memory.json").read_text())
    assert memory["plugins.l2"] == {"tasks": ["scienceqa", "textvqa"]}
    kept = json.loads((extended / "command.json").read_text())["arguments"]
    assert f"--config-dir={project / 'conf'}" in kept  # without it nobody could give the command again


def test_the_plugin_does_what_the_page_says(place, project, extended):
    """A heavy weight leaves the weights nearer to where the task began."""
    status, text = run(place, project, "extended_heavy", "plugin.l2.weight=50")
    assert status == 0, text
    moved = []
    for folder in (extended, place.folder / "extended_heavy"):
        one, two = (
            load_file(folder / task / "adapter" / "adapter_model.safetensors")
            for task in ("task_01_scienceqa", "task_02_textvqa")
        )
        moved.append(sum((two[name] - one[name]).square().sum().item() for name in one))
    assert moved[1] < moved[0]


def test_a_wrong_value_is_refused(place, project):
    status, text = run(place, project, "extended_wrong", "plugin.l2.weight=heavy")
    assert status == 1
    assert "plugin.l2.weight" in text
    status, text = run(place, project, "extended_unknown", "+plugin.l2.wait=1")
    assert "plugin.l2.wait: mine.l2.L2 has no such option; did you mean weight?" in text


def test_every_hook_is_on_the_page_in_its_order():
    assert tuple(re.findall(r"^\| `(\w+)\(", PAGE, re.MULTILINE)) == HOOKS


@pytest.fixture(scope="module")
def captioned(place, project, tmp_path_factory) -> tuple[Path, list[str]]:
    """A run of the page's task, and the command that made it."""
    data = tmp_path_factory.mktemp("captions")
    shutil.copytree(place.suite, data, dirs_exist_ok=True)
    shutil.copytree(data / "Instructions_Original/ImageNet", data / "Instructions_Original/Captions")
    for split in ("train", "test"):
        file = data / f"Instructions_Original/Captions/{split}.json"
        file.write_text(file.read_text().replace('"c"', '"A red bus"' if split == "train" else '"a red bus"'))
    words = words_of(OF_TASK, project)
    given = {word.lstrip("+").split("=")[0] for word in words}
    small = [word for word in place.short("captioned") if word.split("=")[0] not in given]
    command = [*words, *small, f"paths.data={data}"]
    status, text = place.runs.run(command, PYTHONPATH=str(project))
    assert status == 0, text
    assert "My Captions" in text
    return place.folder / "captioned", command


def read(file: Path) -> dict:
    return json.loads(file.read_text())


def python(place, project: Path, *words: str) -> tuple[int, str]:
    return place.runs.run([*words], PYTHONPATH=str(project))


def test_a_task_in_one_yaml_is_learned_scored_and_shown_under_its_title(captioned, project, place):
    run, _ = captioned
    scores, matrix = read(run / "task_02_captions/scores.json"), read(run / "matrix.json")
    assert list(matrix["variants"]) == ["corrected", "reference", "cider"]
    assert matrix["variants"]["reference"]["scores"][2][1] is matrix["variants"]["cider"]["scores"][2][0] is None
    assert scores["variants"]["cider"]["scores"].keys() == {"captions"}
    assert scores["versions"] == matrix["versions"] == {"vqav2": 1, "captions": 1}
    assert python(place, project, "report", str(run))[0] == 0
    page = (run / "report.html").read_text()
    assert page.count("My Captions") > 5
    assert ">captions<" not in page


def test_a_mended_rule_scores_the_run_again_without_a_model(captioned, project, place):
    run, command = captioned
    before = read(run / "task_02_captions/scores.json")["scores"]["captions"]
    (fixed,) = re.findall(r"```python\n(    return .*prediction\.lower.*?)\n```", PAGE)
    rule, task = project / "mine/words.py", project / "conf/task/captions.yaml"
    rule.write_text(re.sub(r"    return .*", lambda _: fixed, rule.read_text()))
    task.write_text(task.read_text().replace("version: 1", "version: 2"))
    status, text = place.runs.run(command, PYTHONPATH=str(project))
    assert status == 1
    assert "captions was scored by version 1 of its scorers, and the config has version 2" in text
    words = [str(run) if word == "RUN" else word for word in words_of(SCORE, project)]
    status, text = python(place, project, *words)
    assert status == 0, text
    assert "version 1 -> 2" in text
    scores = read(run / "task_02_captions/scores.json")
    records = [json.loads(line) for line in (run / "task_02_captions/records/captions.jsonl").read_text().splitlines()]
    said = [len({"a", "red", "bus"} & set(record["prediction"].lower().split())) / 3 for record in records]
    assert scores["scores"]["captions"] == pytest.approx(100 * sum(said) / len(said))
    assert scores["scores"]["captions"] > before
    assert read(run / "matrix.json")["versions"] == {"vqav2": 1, "captions": 2}
    assert "version My Captions 2 of the scorers" in (run / "report.html").read_text()
    status, text = place.runs.run(command, PYTHONPATH=str(project))  # scored by what the yaml has: finished
    assert status == 0, text


def test_runs_of_unlike_versions_are_not_compared(captioned, project, place, tmp_path):
    run, _ = captioned
    older = tmp_path / "older"
    older.mkdir()
    content = read(run / "matrix.json")
    (older / "matrix.json").write_text(json.dumps({**content, "seed": 9, "versions": {"vqav2": 1, "captions": 1}}))
    status, text = python(place, project, "report", str(run), str(older), "-o", str(tmp_path / "out"))
    assert status == 1
    assert re.search(r"captions: .* was scored by version 1 of its scorers, .* by 2; score the older one", text)


def test_a_variant_that_a_task_lacks_is_refused_before_anything(captioned, project, place):
    _, command = captioned
    status, text = place.runs.run(
        [word for word in command if not word.startswith("run_dir=")]
        + [f"run_dir={place.folder / 'none'}", "protocol.scorers=cider"],
        PYTHONPATH=str(project),
    )
    assert status == 1
    assert re.search(
        r"protocol.scorers=cider: there is no such scorer variant; .*vqav2.* have corrected, reference", text
    )
    assert not (place.folder / "none/matrix.json").exists()


@pytest.fixture(scope="module")
def vip_llava(tmp_path_factory) -> Path:
    """A small checkpoint of the page's family."""
    words, folder = small_families.tokenizer(), tmp_path_factory.mktemp("models") / "vip"
    words.chat_template = small_families.SMALL["llava"].template
    config = VipLlavaConfig(
        vision_config=CLIPVisionConfig(**small_families.CLIP, image_size=28),
        text_config=LlamaConfig(**small_families.text(len(words))),
        image_token_index=words.convert_tokens_to_ids("<image>"), image_seq_length=4, vision_feature_layer=[-2, 0, 1],
    )  # fmt: skip
    torch.manual_seed(0)
    VipLlavaForConditionalGeneration(config).save_pretrained(folder)
    words.save_pretrained(folder)
    small_families.SMALL["llava"].processor().save_pretrained(folder)
    return folder


def test_a_family_in_one_file_and_one_yaml_is_learned(place, project, vip_llava):
    lines = FILES["mine/vip_llava.py"].count("\n")
    assert lines < 120
    words = [word for word in words_of(OF_FAMILY, project) if not word.startswith("backbone.path=")]
    given = {word.lstrip("+").split("=")[0] for word in words}
    small = [word for word in place.short("vip", f"backbone.path={vip_llava}", "backbone.dtype=float32")
             if word.split("=")[0] not in given]  # fmt: skip
    status, text = place.runs.run([*words, *small], PYTHONPATH=str(project))
    assert status == 0, text
    adapter = load_file(place.folder / "vip" / "task_02_textvqa" / "adapter" / "adapter_model.safetensors")
    assert any("multi_modal_projector" in name for name in adapter)


def test_a_family_sees_what_the_model_itself_sees(project, vip_llava, monkeypatch):
    monkeypatch.syspath_prepend(str(project))
    from mine.vip_llava import VipLlava

    backbone = load_backbone(vip_llava, "chat_template", VipLlava, dtype="float32")
    image = Image.effect_noise((40, 28), 90).convert("RGB")
    pixels, page = backbone.pixels(image), backbone.prompt.render([Turn("What?", "It", 1)])
    ids = torch.tensor([backbone.tokens(page)[0]])
    (features,) = backbone.family.features(backbone.core, [pixels])
    ours = backbone.model.lm_head(backbone.hidden_states(ids, backbone.project(features, [()])))
    theirs = backbone.model(input_ids=ids, **pixels).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
