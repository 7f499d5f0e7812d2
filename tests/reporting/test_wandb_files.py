"""W&B's files after kills: what is kept, and what `wandb sync` would not take."""

import shutil
from pathlib import Path

import pytest
import wandb

from coin_lightning.reporting.wandb_files import last_step, mend, parts_of, read_records


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an offline run with records over several blocks."""
    folder = tmp_path_factory.mktemp("run")
    run = wandb.init(project="p", dir=str(folder), mode="offline", settings=wandb.Settings(silent=True))
    for step in range(40):
        run.log({"text": f"{step} " * 1000}, step=step)
    run.finish()
    wandb.teardown()  # W&B's process ends, with all of it written
    (file,) = parts_of(folder / "wandb")
    assert file.stat().st_size > 2 * 32768
    return file


def cut(written: Path, folder: Path, size: int) -> Path:
    """A copy that ends there."""
    part = folder / "wandb" / written.parent.name / written.name
    part.parent.mkdir(parents=True)
    shutil.copy(written, part)
    with part.open("r+b") as stream:
        stream.truncate(size)
    return part


def test_all_of_a_whole_file(written: Path) -> None:
    assert last_step(written.parents[1]) == 39
    assert list(read_records(written))[-1].HasField("exit")
    size = written.stat().st_size
    mend(written.parents[1])
    assert written.stat().st_size == size


@pytest.mark.parametrize("size", [32768, 40000, 65536, 65536 + 3])
def test_a_cut_file_keeps_its_whole_records(written: Path, tmp_path: Path, size: int) -> None:
    part = cut(written, tmp_path, size)
    before = [record.SerializeToString() for record in read_records(part)]
    assert 0 < last_step(tmp_path / "wandb") < 39
    mend(tmp_path / "wandb")
    assert part.stat().st_size < size
    assert [record.SerializeToString() for record in read_records(part)] == before
    with part.open("ab") as stream:  # nothing is left behind them
        stream.write(written.read_bytes()[part.stat().st_size :])
    assert part.read_bytes() == written.read_bytes()


@pytest.mark.parametrize("size", [0, 7, 20])
def test_an_empty_file_goes_away(written: Path, tmp_path: Path, size: int) -> None:
    cut(written, tmp_path, size)
    assert last_step(tmp_path / "wandb") == -1
    mend(tmp_path / "wandb")
    assert parts_of(tmp_path / "wandb") == []
