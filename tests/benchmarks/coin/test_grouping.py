"""Samples of one group come together in order, whatever stands between them."""

import random

from coin_lightning.benchmarks.coin.grouping import grouped
from coin_lightning.benchmarks.coin.raw_sample import RawSample


def sample(id_: int | str, group: str | None) -> RawSample:
    return RawSample(id_, None if group is None else f"{group}.jpg", f'Q{id_} "é\n?', f"a{id_}", group)


def test_groups_in_order_of_their_first_sample(tmp_path):
    samples = [
        sample(1, "b"),
        sample("2", "a"),
        sample(3, None),
        sample(4, "b"),
        sample(5, None),
        sample(6, "a"),
        sample(7, "c"),
    ]
    assert list(grouped(iter(samples), tmp_path)) == [
        [samples[0], samples[3]], [samples[1], samples[5]], [samples[2]], [samples[4]], [samples[6]],
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_nothing_gives_nothing(tmp_path):
    assert list(grouped(iter([]), tmp_path)) == []


def test_many_samples_against_a_dictionary(tmp_path):
    draw = random.Random(0)
    samples = [sample(number, draw.choice((None, *"abcdefghij"))) for number in range(3000)]
    slow: dict[object, list[RawSample]] = {}
    for each in samples:
        slow.setdefault(each.group if each.group is not None else each.id, []).append(each)
    assert list(grouped(iter(samples), tmp_path)) == list(slow.values())


def test_no_sample_is_held_in_memory(tmp_path):
    import tracemalloc

    def samples():
        for number in range(20_000):
            yield RawSample(number, "x.jpg", "q" * 500, "a", str(number % 50))  # 10 MB of questions

    tracemalloc.start()
    for group in grouped(samples(), tmp_path):
        assert len(group) == 400
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000  # one group is 0.3 MB, the two arrays 0.24 MB, their order 0.16 MB
