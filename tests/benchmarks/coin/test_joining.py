"""Two streams put together by id, in one order or another."""

import random
from collections.abc import Iterator

from coin_lightning.benchmarks.coin.joining import joined


def test_equal_orders_wait_for_nothing():
    ahead = {"left": 0, "right": 0}

    def counting(side: str) -> Iterator[tuple[int, str]]:
        for key in range(100):
            ahead[side] += 1
            yield key, f"{side}{key}"

    for place, triple in enumerate(joined(counting("left"), counting("right"))):
        assert triple == (place, f"left{place}", f"right{place}")
        assert ahead == {"left": place + 1, "right": place + 1}


def test_any_order_gives_all_pairs():
    keys = list(range(50))
    left = [(key, f"l{key}") for key in random.Random(0).sample(keys, 50)]
    right = [(key, f"r{key}") for key in random.Random(1).sample(keys, 50)]
    assert sorted(joined(iter(left), iter(right))) == [(key, f"l{key}", f"r{key}") for key in keys]


def test_what_has_no_partner_comes_with_none():
    left = [(1, "l1"), (2, "l2"), (2, "again"), (3, "l3")]
    right = [(3, "r3"), (4, "r4"), (1, "r1"), (3, "again")]
    assert list(joined(iter(left), iter(right))) == [
        (2, "again", None), (1, "l1", "r1"), (3, "l3", "r3"), (2, "l2", None), (4, None, "r4"), (3, None, "again"),
    ]  # fmt: skip
