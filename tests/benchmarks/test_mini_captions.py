import re
from random import Random

import pytest

from coin_lightning.benchmarks.mini_captions import REQUESTS, captions
from coin_lightning.benchmarks.mini_suite import TASKS

pytestmark = pytest.mark.assets


def test_captions_are_one_sentence_and_ask_unlike_the_tasks(materials, samples_of):
    task_texts = " ".join(sample["text"] for task in TASKS for sample in samples_of(task.folder, task.evaluation))
    assert not [request for request in REQUESTS if request in task_texts]
    for index in range(32):
        (item,) = captions(Random(index), materials, "train", index).items
        assert item.text in REQUESTS
        assert re.fullmatch(r"[A-Z].*\.", item.answer)


def test_captions_name_many_different_things(materials):
    texts = {captions(Random(i), materials, "train", i).items[0].answer for i in range(0, 800, 8)}
    assert len(texts) > 70
