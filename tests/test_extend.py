"""`docs/extend.md`: its files are written as they stand there and its command is run, killed and continued."""

import json
import re
import shlex
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file

from coin_lightning.methods.base import HOOKS

PAGE = (Path(__file__).parents[1] / "docs" / "extend.md").read_text()
FILES = dict(re.findall(r"`([\w/]+\.(?:py|yaml))`:[^\n]*\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
(COMMAND,) = re.findall(r"```bash\nPYTHONPATH=\. python -m coin_lightning (.*?)\n```", PAGE)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    assert set(FILES) == {"mine/l2.py", "conf/plugin/l2.yaml"}
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def run(place, project: Path, name: str, *more: str) -> tuple[int, str]:
    words = [str(project / "conf") if word == "conf" else word for word in shlex.split(COMMAND)]
    given = {word.lstrip("+").split("=")[0] for word in words}
    small = [word for word in place.short(name, "method=lora") if word.split("=")[0] not in given]
    return place.runs.run([*words, *small, *more], PYTHONPATH=str(project))


def test_the_plugin_runs_is_killed_and_goes_on(place, project):
    status, text = run(place, project, "extended")
    assert status == 0, text
    assert run(place, project, "extended_killed", *place.kill(2, "train", 3))[0] == -signal.SIGKILL
    status, text = run(place, project, "extended_killed")
    assert status == 0, text
    folders = [place.folder / name / "task_02_textvqa" for name in ("extended", "extended_killed")]
    files = [(folder / "adapter" / "adapter_model.safetensors").read_bytes() for folder in folders]
    assert files[0] == files[1]
    memory = json.loads((folders[0] / "memory.json").read_text())
    assert memory["plugins.l2"] == {"tasks": ["scienceqa", "textvqa"]}


def test_the_plugin_does_what_the_page_says(place, project):
    """A heavy weight leaves the weights nearer to where the task began."""
    moved = []
    for weight in (0, 50):
        status, text = run(place, project, f"extended_{weight}", f"plugin.l2.weight={weight}")
        assert status == 0, text
        folder = place.folder / f"extended_{weight}"
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
