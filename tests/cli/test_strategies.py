"""What a strategy cannot do together with the rest of a config is refused before anything is made."""

from importlib.util import find_spec

import pytest

DEVICES = ["trainer.accelerator=cpu", "trainer.devices=2"]
REFUSED = {
    "pieces_and_method": (
        ["method=olora", "trainer=fsdp", "trainer.strategy.trainable=sharded"],
        "trainer.strategy.trainable=sharded: olora works on whole weights (its hook restore); use "
        "trainer.strategy.trainable=whole",
    ),
    "pieces_and_plugin": (
        ["+plugin=ewc", "trainer=fsdp", "trainer.strategy.trainable=sharded"],
        "trainer.strategy.trainable=sharded: ewc works on whole weights",
    ),
    "unknown": (["trainer=fsdp", "trainer.strategy.trainable=some"], 'trainer.strategy.trainable="some": must be'),
    "offload": (
        ["trainer=fsdp", "trainer.strategy.trainable=sharded", "trainer.strategy.offload=true"],
        "trainer.strategy.offload=true keeps frozen pieces",
    ),
    "half": (["trainer=fsdp", "+backbone.dtype=float16"], "backbone.dtype=float16 cannot be laid out"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line(place, name):
    more, words = REFUSED[name]
    status, text = place.runs.run(place.command(f"refused_{name}", *more, *DEVICES, tasks="imagenet"))
    assert status == 1
    assert words in text
    assert "Traceback" not in text
    assert not (place.folder / f"refused_{name}" / "config.yaml").exists()


@pytest.mark.skipif(find_spec("deepspeed") is not None, reason="deepspeed is installed")
@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_that_is_not_installed_is_refused_with_the_remedy(place, stage):
    more = [f"trainer=deepspeed_zero{stage}", "~callbacks.checkpoint", *DEVICES]
    status, text = place.runs.run(place.command(f"zero{stage}", *more, tasks="imagenet"))
    assert status == 1
    assert f"error: trainer=deepspeed_zero{stage}: the deepspeed package is not installed; pip install" in text
    assert "or use trainer=fsdp" in text
    assert not (place.folder / f"zero{stage}" / "config.yaml").exists()
