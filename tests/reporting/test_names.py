"""Numbers and names as people read them."""

import math

from coin_lightning.reporting.names import bytes_size, count, duration, percent, short, signed, title


def test_percent_and_signed() -> None:
    assert (percent(33.75), percent(None), percent(math.nan)) == ("33.8", "\u2013", "\u2013")
    assert (signed(-20.04), signed(3), signed(-0.01), signed(None)) == ("\u221220.0", "+3.0", "+0.0", "\u2013")


def test_sizes_and_times() -> None:
    assert [bytes_size(value) for value in (512, 999_700, 19_600_000, 2_100_000_000)] == [
        "512 B", "1 MB", "19.6 MB", "2.1 GB",
    ]  # fmt: skip
    assert [count(value) for value in (9999, 12_800, 999_700, 4_879_000, 2.5e12)] == [
        "9999", "12.8 k", "1 M", "4.88 M", "2500 G",
    ]  # fmt: skip
    assert [duration(value) for value in (1.24, 59, 75, 3700)] == ["1.2 s", "59 s", "1 min 15 s", "1 h 1 min"]


def test_unknown_tasks_keep_their_key() -> None:
    assert (title("ocrvqa"), title("my_task")) == ("OCR-VQA", "my_task")
    assert (short("ocrvqa"), short("my_long_task")) == ("OCR", "my_lon")
