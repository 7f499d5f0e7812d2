"""Keys and values of samples of unlike length, each written behind its own."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

ROOM = 128
"""Places that are made at a time for an answer: few need what a limit of 1024 allows, and 16 samples of a 7B model
would take 8 GB for it."""


class RowLayer(CacheLayerMixin):
    """Of one decoder layer: `keys` and `values` `[n, g, width, d]`, made at the first write.

    Args:
        cache: says where the tokens of a pass go.
    """

    is_sliding = False

    def __init__(self, cache: "RowCache") -> None:
        super().__init__()
        self.cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Room for all samples."""
        n, g, _, _ = key_states.shape
        self.keys = key_states.new_zeros(n, g, self.cache.width, key_states.shape[-1])
        self.values = value_states.new_zeros(n, g, self.cache.width, value_states.shape[-1])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write those of a pass `[n, g, s, d]`; gives all that its tokens may see."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        places = self.cache.places
        if places is None:  # from the beginning: the tokens see each other only
            length = key_states.shape[2]
            self.keys[:, :, :length], self.values[:, :, :length] = key_states, value_states
            return key_states, value_states
        rows = torch.arange(len(places), device=places.device).unsqueeze(1)
        self.keys[rows, :, places] = key_states.transpose(1, 2)
        self.values[rows, :, places] = value_states.transpose(1, 2)
        return self.keys[:, :, : self.cache.end], self.values[:, :, : self.cache.end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """For a pass from the beginning; the others bring their own mask."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """Likewise."""
        return 0

    def get_max_length(self) -> int:
        """Places of a sample."""
        return self.cache.width


class RowCache(Cache):
    """Keys and values of `n` samples in all layers.

    Args:
        layers: of the decoder.
        width: places of a sample at first; more are made when they are needed.

    Attributes:
        places: where the tokens of the next pass go, `[n, s]`; None: all from the beginning.
        end: no token of the next pass sees a place from here on.
    """

    def __init__(self, layers: int, width: int) -> None:
        self.width, self.end = width, width
        self.places: Tensor | None = None
        self.rows = [RowLayer(self) for _ in range(layers)]
        super().__init__(layers=[*self.rows])

    def go_on(self, starts: Tensor, length: int) -> Tensor:
        """Prepare a pass of `length` tokens per sample behind the first `starts` `[n]` places.

        Returns:
            What each token sees: bool `[n, 1, length, end]`.
        """
        self.places = starts.unsqueeze(1) + torch.arange(length, device=starts.device)
        self.end = int(self.places.max()) + 1
        if self.end > self.width:
            self._widen(max(self.end, self.width + ROOM))
        return (torch.arange(self.end, device=starts.device) <= self.places.unsqueeze(-1)).unsqueeze(1)

    def _widen(self, width: int) -> None:
        """Room for longer answers."""
        for layer in self.rows:
            assert layer.keys is not None
            assert layer.values is not None
            layer.keys = F.pad(layer.keys, (0, 0, 0, width - self.width))
            layer.values = F.pad(layer.values, (0, 0, 0, width - self.width))
        self.width = width

    def spread(self, rows: Tensor, width: int) -> "RowCache":
        """Another cache whose samples begin with what the samples `rows` `[m]` of this one have."""
        return self.joined([self], rows, width)

    @staticmethod
    def joined(caches: Sequence["RowCache"], rows: Tensor, width: int) -> "RowCache":
        """One whose samples begin with what the samples `rows` `[m]`, counted through several caches, have in these.

        The caches are emptied on the way: no layer is held twice.
        """
        wide = RowCache(len(caches[0].rows), width)
        for other, *owns in zip(wide.rows, *(cache.rows for cache in caches), strict=True):
            for name in ("keys", "values"):
                held = [getattr(own, name)[:, :, :width] for own in owns]
                long = [F.pad(part, (0, 0, 0, width - part.shape[2])) for part in held]
                setattr(other, name, torch.cat(long)[rows])
                for own in owns:
                    setattr(own, name, None)
            other.is_initialized = True
        return wide

    def keep(self, rows: Tensor) -> None:
        """Only these samples go on."""
        for layer in self.rows:
            assert layer.keys is not None
            assert layer.values is not None
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]


def same_beginning(ids: Sequence[Sequence[int]]) -> int:
    """How many first tokens several samples share."""
    shortest = min(map(len, ids))
    for at in range(shortest):
        if any(other[at] != ids[0][at] for other in ids[1:]):
            return at
    return shortest
