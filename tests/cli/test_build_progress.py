"""The progress bar of a build."""

import io

from rich.console import Console

from coin_lightning.cli.build_progress import EVERY, BuildBar


def test_lines_fill_up_and_count_samples():
    written = io.StringIO()
    with BuildBar(Console(file=written, width=100, force_terminal=True)) as bar:
        bar.read(5)  # before any split: nothing to show
        bar.start("OCRVQA", "train", 100)
        for _ in range(EVERY + 5):
            bar.sample()
        bar.read(30)
        first = bar.bars.tasks[0]
        assert (first.completed, first.total, first.fields["samples"]) == (30, 100, EVERY)
        bar.start("ImageNet", "test", 0)  # nothing but folders to read
        assert (first.completed, first.fields["samples"]) == (100, EVERY + 5)
        second = bar.bars.tasks[1]
        assert second.total is None
        bar.sample()
    assert (second.completed, second.total, second.fields["samples"]) == (1, 1, 1)
    shown = written.getvalue()
    assert "OCR-VQA train" in shown
    assert "1,005 samples" in shown
