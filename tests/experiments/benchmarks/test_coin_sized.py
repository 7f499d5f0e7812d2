"""The made-up file has CoIN's form and proportions."""

import json
import os
from collections import Counter

from coin_lightning.tasks.samples import read_train


def test_samples_are_those_of_a_task_and_images_are_links(script, tmp_path):
    sized = script("coin_sized")
    file = sized.write(tmp_path, 4000, 50)
    samples = read_train(file, tmp_path / "cl_dataset")
    assert len(samples) == 4000
    assert len(samples.images) == 50
    assert os.stat(tmp_path / "cl_dataset" / samples.images[0]).st_nlink == 50
    kinds = Counter(id_.rsplit("_", 1)[0] for id_ in samples.ids)
    assert abs(kinds["OCR-VQA"] / 4000 - 166_043 / 574_012) < 0.03
    turns = [len(sample.turns) for sample in samples if sample.id.startswith("GQA")]
    assert 11 < sum(turns) / len(turns) < 15
    assert any(sample.image is None for sample in samples)
    assert any(not sample.turns[0].question.isascii() for sample in samples)


def test_the_same_seed_gives_the_same_file(script, tmp_path):
    sized = script("coin_sized")
    first, again = (json.dumps(list(sized.samples(50, ["a.jpg"], seed=3))) for _ in range(2))
    assert first == again != json.dumps(list(sized.samples(50, ["a.jpg"], seed=4)))
