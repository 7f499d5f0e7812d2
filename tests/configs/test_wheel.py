"""`conf/` is found from an installed wheel as well as from a checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
hatchling = pytest.importorskip("hatchling.builders.wheel", reason="hatchling builds the wheel")

SCRIPT = """
import sys
import coin_lightning, coin_lightning.cli.train as train
from coin_lightning.config_folder import conf_dir
assert coin_lightning.__file__.startswith(sys.argv[1]), coin_lightning.__file__
assert str(conf_dir()).startswith(sys.argv[1]), conf_dir()
from coin_lightning.reporting.published import published_dir, published_rows
assert str(published_dir()).startswith(sys.argv[1]), published_dir()
assert published_rows()
sys.argv = ["coin_lightning", "--cfg", "job", "--resolve", "+experiment=moelora_llava", "+debug=tiny"]
train.main()
"""


def test_wheel_holds_the_configs_and_composes_from_them(tmp_path: Path):
    wheel = next(hatchling.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    place = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    packed = {file.relative_to(place / "coin_lightning" / "conf") for file in place.rglob("conf/**/*.yaml")}
    assert packed == {file.relative_to(ROOT / "conf") for file in (ROOT / "conf").rglob("*.yaml")}
    assert (place / "hydra_plugins" / "coin_lightning.py").is_file()
    source = ROOT / "src" / "coin_lightning"
    data = {file.relative_to(source) for file in source.rglob("*") if file.suffix in (".json", ".j2", ".safetensors")}
    assert data <= {file.relative_to(place / "coin_lightning") for file in (place / "coin_lightning").rglob("*")}
    data = {file.relative_to(ROOT / "src") for file in (ROOT / "src").rglob("*.json")}
    assert len(data) >= 8  # the instruction texts of the raw builders among them
    assert all((place / file).is_file() for file in data)
    env = {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(place)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "experiment_name: debug" in done.stdout
    assert "coin_lightning.backbones.tiny.load" in done.stdout
