"""What the folders of a sweep's members hold."""

import multiprocessing
from collections.abc import Iterator

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from coin_lightning.cli import run_names, sweep_plan
from coin_lightning.cli.sweep_plan import own_finished
from coin_lightning.config_folder import conf_dir
from coin_lightning.errors import ConfigError


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    run_names.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield


def test_a_finished_run_is_that_of_its_own_config_whatever_watched_it(place):
    own = place.brief("planned")
    status, text = place.runs.run(own)
    assert status == 0, text
    watched = (*own, "callbacks.checkpoint.every_n_steps=3")
    foreign = (*own, "optimizer.weight_decay=0.1")
    nowhere = tuple(place.brief("never_begun"))
    assert own_finished([tuple(own), watched, foreign, nowhere]) == {tuple(own), watched}


def test_a_stopped_look_at_the_members_ends_though_nobody_reads_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(words: object) -> None:
        raise ConfigError("more than a pipe holds " * 10_000)

    monkeypatch.setattr(sweep_plan, "MemberConfigs", lambda hydra: told)
    found = sweep_plan._found(sweep_plan._can_be_run, {("seed=0",): 0, ("seed=1",): 1, ("seed=2",): 2}, ())
    assert next(found)[0] == ("seed=0",)
    found.close()
    assert multiprocessing.active_children() == []
