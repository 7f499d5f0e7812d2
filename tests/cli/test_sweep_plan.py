"""What the folders of a sweep's members hold."""

from collections.abc import Iterator

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from coin_lightning.cli import run_names
from coin_lightning.cli.sweep_plan import own_finished
from coin_lightning.config_folder import conf_dir


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
