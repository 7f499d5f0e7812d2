"""Samples of two files put together by an id, without holding either file."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

Keyed = Iterator[tuple[Any, Any]]


def joined(left: Keyed, right: Keyed) -> Iterator[tuple[Any, Any, Any]]:
    """Pairs of (key, item) streams as (key, left item, right item); None stands for an item without partner.

    Memory holds what waits for its partner: nothing where both files have one order, as published ones do; in the
    worst case the smaller file. An id that comes twice on one side finds a partner once.
    """
    waiting: tuple[dict[Any, Any], dict[Any, Any]] = ({}, {})
    for pair in zip_longest(left, right):
        for side, found in enumerate(pair):
            if found is None:
                continue
            key, item = found
            partners = waiting[1 - side]
            if key in partners:
                other = partners.pop(key)
                yield (key, item, other) if side == 0 else (key, other, item)
            elif key in waiting[side]:
                yield (key, item, None) if side == 0 else (key, None, item)
            else:
                waiting[side][key] = item
    for key, item in waiting[0].items():
        yield key, item, None
    for key, item in waiting[1].items():
        yield key, None, item
