"""The instruction texts: complete, labelled with their source, drawn from nothing but seed, task and id."""

import json
from collections import Counter
from pathlib import Path

import pytest

from coin_lightning.benchmarks.coin.raw_sample import RawSample
from coin_lightning.benchmarks.coin.suite import RAW_TASKS
from coin_lightning.benchmarks.coin.templates import FOLDERS, SOURCES, load_instructions
from coin_lightning.benchmarks.layout import LETTER_ANSWER, SHORT_ANSWER
from coin_lightning.benchmarks.mini_grounding import BOX_PROMPT


def sample(id_: str | int = "7", question: str = "What {question} is {this}?") -> RawSample:
    return RawSample(id_, None, question, "x")


@pytest.mark.parametrize("task", RAW_TASKS)
def test_every_template_has_one_place_for_the_question_and_a_source(task):
    instructions = load_instructions(task)
    assert {type_: len(listed) for type_, listed in instructions.types.items()} == {
        "original": 1, "diverse": 1, "10type": 11 if task == "imagenet" else 10,
    }  # fmt: skip
    for listed in instructions.types.values():
        assert len({template.text for template in listed}) == len(listed)
        for template in listed:
            assert template.text.count("{question}") == 1
            assert template.source in SOURCES
            assert template.text.endswith((".", "?"))
    assert instructions.every_turn is (task == "grounding")
    assert instructions.note


@pytest.mark.parametrize("task", sorted(set(RAW_TASKS) - {"grounding"}))
def test_the_instruction_is_the_last_line(task):
    for listed in load_instructions(task).types.values():
        for template in listed:
            assert template.text.startswith("{question}\n")
            assert template.text.count("\n") == 1


def test_original_is_the_published_wording_and_coin_minis():
    for task in RAW_TASKS:
        (template,) = load_instructions(task).types["original"]
        assert template.source == "published"
        line = {"scienceqa": LETTER_ANSWER, "grounding": BOX_PROMPT.format("{question}")}.get(task, SHORT_ANSWER)
        assert template.text.removeprefix("{question}\n") == line


def test_paraphrases_belong_to_one_task_each():
    seen = Counter(template.text for task in RAW_TASKS for template in load_instructions(task).types["10type"])
    assert max(seen.values()) == 1


def test_diverse_tells_most_tasks_apart():
    texts = [load_instructions(task).types["diverse"][0].text for task in RAW_TASKS]
    assert len(set(texts)) == 8


def test_the_question_is_put_in_as_it_is():
    assert load_instructions("gqa").text("original", sample(), 0) == f"What {{question}} is {{this}}?\n{SHORT_ANSWER}"


def test_draws_depend_on_seed_task_and_id_only():
    gqa, vqav2 = load_instructions("gqa"), load_instructions("vqav2")
    ids = [str(number) for number in range(2000)]

    def draws(instructions, seed):
        listed = [template.text for template in instructions.types["10type"]]
        return [listed.index(instructions.text("10type", sample(id_, "{question}"), seed)) for id_ in ids]

    assert draws(gqa, 0) == draws(load_instructions("gqa"), 0)
    assert draws(gqa, 0) != draws(gqa, 1)
    assert draws(gqa, 0) != draws(vqav2, 0)
    assert gqa.text("10type", sample(5), 0) == gqa.text("10type", sample("5"), 0)
    counts = Counter(draws(gqa, 0))
    assert set(counts) == set(range(10))
    assert min(counts.values()) > 150  # 200 expected, standard deviation 13


def test_a_draw_worked_by_hand():
    # blake2b("0/gqa/07333408", 8 bytes) = the number below; it decides, whatever else is in the data set
    import hashlib

    number = int.from_bytes(hashlib.blake2b(b"0/gqa/07333408", digest_size=8).digest(), "big")
    gqa = load_instructions("gqa")
    assert gqa.text("10type", sample("07333408", "Q?"), 0) == gqa.types["10type"][number % 10].text.replace(
        "{question}", "Q?"
    )


def test_data_files_are_json_beside_the_module():
    folder = Path(load_instructions.__code__.co_filename).parent / "instructions"
    assert {file.stem for file in folder.iterdir()} == set(RAW_TASKS)
    for file in folder.iterdir():
        assert set(json.loads(file.read_text())) == {"note", "every_turn", *FOLDERS}
