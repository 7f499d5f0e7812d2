"""Keys that a run sets itself. That every option of Lightning's Trainer is decided on: `configs/test_values.py`."""

from coin_lightning.cli.own_keys import environment_problems, ranges_of, set_by_the_run


def test_only_keys_of_the_list_are_refused_each_with_its_remedy():
    lines = set_by_the_run(["trainer.max_epochs", "trainer.precision", "logger.mine.config", "logger.mine.project"])
    assert lines == [
        "trainer.max_epochs: cannot be set; use batches.epochs=N",
        "logger.mine.config: cannot be set; it is the run's config",
    ]


def test_variables_of_lightning_are_named():
    assert environment_problems(["PATH", "PL_GLOBAL_SEED"]) == []
    assert environment_problems(["PL_TRAINER_MAX_STEPS"])[0].startswith("PL_TRAINER_MAX_STEPS: is set")


def test_ranges_are_those_of_a_node():
    assert set(ranges_of("optimizer")) == {"lr", "weight_decay"}
    assert ranges_of("adapter") == {}
