"""Legends lie within the drawing, in order and apart from each other."""

from coin_lightning.reporting.drawing import BLUE, INK, MUTED, WIDTH, Drawing, Shape, Text, box


def test_a_legend_is_centred_and_its_entries_do_not_touch() -> None:
    drawing = Drawing(WIDTH, 100, "", "")
    keys = [("right after its training", BLUE, 10.0), ("at the end", INK, 2.0), ("zero-shot", MUTED, 0.0)]
    drawing.legend(keys)
    samples, labels = drawing.marks[::2], drawing.marks[1::2]
    assert [label.text for label in labels if isinstance(label, Text)] == [label for label, _, _ in keys]
    assert [sample.dashed for sample in samples if isinstance(sample, Shape)] == [False, False, True]
    lefts = [sample.points[0][0] for sample in samples if isinstance(sample, Shape)]
    ends = [label.x + 5.5 * len(label.text) for label in labels if isinstance(label, Text)]
    assert all(end < left for end, left in zip(ends, lefts[1:], strict=False))
    assert abs(lefts[0] - (WIDTH - ends[-1])) < 40


def test_a_box_is_filled_or_outlined() -> None:
    filled, outlined = box(1, 2, 10, 20, BLUE, 0.5), box(1, 2, 10, 20, BLUE, outline=2)
    assert filled.points == outlined.points == [(1, 2), (11, 2), (11, 22), (1, 22), (1, 2)]
    assert (filled.width, filled.opacity, outlined.width) == (0, 0.5, 2)
