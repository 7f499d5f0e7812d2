"""Defaults of a build."""

from coin_lightning.benchmarks.coin.options import BuildOptions, BuildProgress


def test_the_default_is_coins_three_types_as_conversations_and_no_record_left_out():
    options = BuildOptions()
    assert options.types == ("original", "diverse", "10type")
    assert (options.seed, options.skip, options.images, options.grouped) == (0, False, "link", True)
    assert options.options == {}


def test_the_silent_progress_takes_everything():
    progress = BuildProgress()
    assert [progress.start("GQA", "train", 9), progress.read(3), progress.row()] == [None] * 3
