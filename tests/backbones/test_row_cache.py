"""Keys and values of samples of unlike length."""

import torch

from coin_lightning.backbones.row_cache import ROOM, RowCache, same_beginning


def states(n: int, length: int, start: int) -> torch.Tensor:
    """`[n, 2, length, 3]`, sample * 100 + place from `start`."""
    values = 100 * torch.arange(n).view(n, 1, 1, 1) + start + torch.arange(length).view(1, 1, length, 1)
    return values.expand(n, 2, length, 3).float()


def test_a_first_pass_sees_itself_and_later_ones_go_behind_each_sample():
    cache = RowCache(1, 6)
    first = states(2, 3, 1)
    keys, values = cache.update(first, -first, 0)
    assert keys is first
    mask = cache.go_on(torch.tensor([3, 2]), 1)
    keys, values = cache.update(states(2, 1, 50), states(2, 1, 60), 0)
    assert keys[:, 0, :, 0].tolist() == [[1, 2, 3, 50], [101, 102, 150, 0]]
    assert values[:, 1, :, 2].tolist() == [[-1, -2, -3, 60], [-101, -102, 160, 0]]
    assert mask[:, 0, 0].tolist() == [[True] * 4, [True, True, True, False]]


def test_several_tokens_go_on_at_once_each_seeing_those_before_it():
    cache = RowCache(1, 8)
    cache.update(states(2, 2, 1), states(2, 2, 1), 0)
    mask = cache.go_on(torch.tensor([2, 1]), 2)
    keys, _ = cache.update(states(2, 2, 50), states(2, 2, 50), 0)
    assert keys[:, 0, :, 0].tolist() == [[1, 2, 50, 51], [101, 150, 151, 0]]
    assert mask[1, 0].tolist() == [[True, True, False, False], [True, True, True, False]]


def test_room_is_made_when_it_is_needed():
    cache = RowCache(1, 2)
    cache.update(states(2, 2, 1), states(2, 2, 11), 0)
    mask = cache.go_on(torch.tensor([2, 1]), 1)
    keys, values = cache.update(states(2, 1, 50), states(2, 1, 60), 0)
    assert keys[:, 0, :, 0].tolist() == [[1, 2, 50], [101, 150, 0]]
    assert values[:, 0, :, 0].tolist() == [[11, 12, 60], [111, 160, 0]]
    assert mask[:, 0, 0].tolist() == [[True] * 3, [True, True, False]]
    assert cache.width == cache.layers[0].keys.shape[2] == 2 + ROOM


def test_a_beginning_is_spread_over_samples_and_samples_leave():
    cache = RowCache(2, 3)
    for layer in range(2):
        cache.update(states(2, 3, 1 + 10 * layer), states(2, 3, 1), layer)
    wide = cache.spread(torch.tensor([1, 0, 1]), 5)
    assert wide.layers[1].keys[:, 0, :, 0].tolist() == [
        [111, 112, 113, 0, 0],
        [11, 12, 13, 0, 0],
        [111, 112, 113, 0, 0],
    ]
    wide.keep(torch.tensor([2]))
    wide.go_on(torch.tensor([3]), 1)
    keys, _ = wide.update(states(1, 1, 70), states(1, 1, 70), 1)
    assert keys[0, 0, :, 0].tolist() == [111, 112, 113, 70]
    assert cache.layers[1].keys is None, "no layer is held twice"


def test_samples_of_several_caches_come_together_in_any_order():
    short, long = RowCache(1, 2), RowCache(1, 3)
    short.update(states(1, 2, 1), states(1, 2, 2), 0)
    long.update(states(2, 3, 3), states(2, 3, 4), 0)
    joined = RowCache.joined([long, short], torch.tensor([2, 0, 1]), 4)
    assert joined.layers[0].keys[:, 0, :, 0].tolist() == [[1, 2, 0, 0], [3, 4, 5, 0], [103, 104, 105, 0]]
    assert joined.layers[0].values[:, 0, :, 0].tolist() == [[2, 3, 0, 0], [4, 5, 6, 0], [104, 105, 106, 0]]


def test_what_several_samples_begin_with():
    assert same_beginning([[1, 2, 3], [1, 2, 4], [1, 2]]) == 2
    assert same_beginning([[1, 2], [1, 2]]) == 2
    assert same_beginning([[1], [2]]) == 0
