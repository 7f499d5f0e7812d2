"""Models of every family in pieces over two gloo processes: what they compute is what they compute whole."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from PIL import Image
from torch import nn
from torch.distributed.tensor import Shard, distribute_tensor

sys.path.insert(0, str(Path(__file__).parent / "backbones"))

from small_families import SMALL, small

from coin_lightning import sharding
from coin_lightning.backbones.prompts import Turn
from coin_lightning.errors import ConfigError
from ports import free_port

pytestmark = pytest.mark.ddp


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What both processes have found, by rank."""
    folder, port = tmp_path_factory.mktemp("sharding"), free_port()
    torch.multiprocessing.start_processes(_process, args=(port, folder), nprocs=2, start_method="fork")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def _process(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (2,))
    result = {"families": {name: _family(name, mesh, rank) for name in SMALL}, "gradients": _gradients(mesh, rank)}
    torch.save(result, folder / f"{rank}.pt")
    torch.distributed.barrier()
    os._exit(0)  # gloo's threads may outlive the group


@torch.no_grad()
def _family(name: str, mesh: Any, rank: int) -> tuple[bool, bool, float]:
    """Equal states, equal answers, and the share of the language model that this process holds."""
    backbone = small(name)
    grids = backbone.family.grids([(60, 40)])
    ids = torch.tensor([backbone.tokens(backbone.prompt.render([Turn("What is it?", None, 1)]), grids)[0]])
    features = torch.cat(backbone.encode_images([backbone.pixels(Image.new("RGB", (60, 40), "red"))]))

    def computed(length: int) -> tuple[Any, str]:
        images, mask = (lambda: backbone.project(features, grids)), torch.ones_like(ids)
        states = backbone.hidden_states(ids, images(), backbone.layout(ids, None, grids))
        return states, backbone.answer(ids, mask, length, images(), backbone.layout(ids, mask, grids))[0]

    length = 5 - 2 * rank  # one process has to go on for the other
    before, answer = computed(length)
    total = sum(weight.numel() for weight in backbone.language_model.layers.parameters())
    sharding.shard(backbone.language_model, mesh, [])
    backbone.in_step = True
    after, again = computed(length)
    own = sum(weight.to_local().numel() for weight in backbone.language_model.layers.parameters())
    return torch.equal(before, after), answer == again, own / total


def _gradients(mesh: Any, rank: int) -> dict[str, Any]:
    whole, absent = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2))
    once = nn.Parameter(torch.zeros(2))
    whole.grad, once.grad = torch.full((3,), 2.0 + 4 * rank), None if rank else torch.ones(2)
    sharding.average_gradients([whole, absent, once])
    pieces = nn.Parameter(distribute_tensor(torch.zeros(4, 2), mesh, [Shard(0)]))
    pieces.grad = sharding.like(torch.arange(8.0).view(4, 2), pieces)
    result = {"mean": whole.grad.clone(), "absent": absent.grad is None, "once": once.grad.clone()}
    sharding.clip_norm([whole, pieces], 1.0)
    return {**result, "clipped": whole.grad, "pieces": sharding.whole(pieces.grad), "local": pieces.grad.to_local()}


@pytest.mark.parametrize("name", SMALL)
def test_a_family_computes_in_pieces_what_it_computes_whole(found, name: str):
    for rank in (0, 1):
        states, answers, share = found[rank]["families"][name]
        assert states
        assert answers
        assert share == pytest.approx(0.5, abs=0.01)


def test_gradients_of_whole_weights_are_averaged_and_missing_ones_count_as_zero(found):
    for rank in (0, 1):
        gradients = found[rank]["gradients"]
        assert gradients["mean"].tolist() == [4.0] * 3
        assert gradients["once"].tolist() == [0.5] * 2
        assert gradients["absent"]


def test_the_norm_is_that_of_all_pieces(found):
    whole, pieces = torch.full((3,), 4.0), torch.arange(8.0).view(4, 2)
    weights = [nn.Parameter(torch.zeros_like(each)) for each in (whole, pieces)]
    for weight, grad in zip(weights, (whole, pieces), strict=True):
        weight.grad = grad.clone()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    for rank in (0, 1):
        gradients = found[rank]["gradients"]
        torch.testing.assert_close(gradients["clipped"], weights[0].grad)
        torch.testing.assert_close(gradients["pieces"], weights[1].grad)
        assert gradients["local"].shape == (2, 2)


def test_bytes_are_not_cut():
    packed = nn.Module()
    packed.layers = nn.ModuleList([nn.Module()])
    packed.layers[0].weight = nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(ConfigError, match=r"layers.0.weight is quantised .* use trainer=ddp"):
        sharding.shard(packed, None, [])
    with pytest.raises(ConfigError, match="a Linear has no `layers`"):
        sharding.shard(nn.Linear(2, 2), None, [])
