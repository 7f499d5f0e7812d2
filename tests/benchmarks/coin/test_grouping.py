"""Rows of one group come together in order, whatever stands between them."""

import random

from coin_lightning.benchmarks.coin.grouping import grouped
from coin_lightning.benchmarks.coin.raw_row import RawRow


def row(id_: int | str, group: str | None) -> RawRow:
    return RawRow(id_, None if group is None else f"{group}.jpg", f'Q{id_} "é\n?', f"a{id_}", group)


def test_groups_in_order_of_their_first_row(tmp_path):
    rows = [row(1, "b"), row("2", "a"), row(3, None), row(4, "b"), row(5, None), row(6, "a"), row(7, "c")]
    assert list(grouped(iter(rows), tmp_path)) == [
        [rows[0], rows[3]], [rows[1], rows[5]], [rows[2]], [rows[4]], [rows[6]],
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_nothing_gives_nothing(tmp_path):
    assert list(grouped(iter([]), tmp_path)) == []


def test_many_rows_against_a_dictionary(tmp_path):
    draw = random.Random(0)
    rows = [row(number, draw.choice((None, *"abcdefghij"))) for number in range(3000)]
    slow: dict[object, list[RawRow]] = {}
    for each in rows:
        slow.setdefault(each.group if each.group is not None else each.id, []).append(each)
    assert list(grouped(iter(rows), tmp_path)) == list(slow.values())


def test_no_row_is_held_in_memory(tmp_path):
    import tracemalloc

    def rows():
        for number in range(20_000):
            yield RawRow(number, "x.jpg", "q" * 500, "a", str(number % 50))  # 10 MB of questions

    tracemalloc.start()
    for group in grouped(rows(), tmp_path):
        assert len(group) == 400
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000  # one group is 0.3 MB, the two arrays 0.24 MB, their order 0.16 MB
