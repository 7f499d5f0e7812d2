"""Names and identities of judges."""

import pytest
from fake_judge import FakeJudge, record

from coin_lightning.errors import ConfigError
from coin_lightning.evaluation.judges.base import PROTOCOL, JudgeRequest, no_judge
from coin_lightning.evaluation.judges.prompts import build_messages, prompt_sha


@pytest.mark.parametrize(
    ("model", "variant", "name"),
    [
        ("Qwen/Qwen1.5-32B-Chat", "strict", "fake_Qwen1.5-32B-Chat"),
        ("Qwen/Qwen1.5-32B-Chat", "reference", "fake_Qwen1.5-32B-Chat_reference"),
        ("/some/where/my model/", "strict", "fake_my-model"),
        ("gpt:4o mini", "strict", "fake_gpt-4o-mini"),
    ],
)
def test_a_name_is_made_from_kind_model_and_variant(model: str, variant: str, name: str):
    assert FakeJudge(model=model, variant=variant).name == name


def test_a_given_name_stays():
    assert FakeJudge(name="second_look").name == "second_look"


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "-x", "judg\u00e9"])
def test_a_name_that_cannot_be_a_folder_is_refused(name: str):
    with pytest.raises(ConfigError, match=r"judge\.name="):
        FakeJudge(name=name)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ConfigError, match=r"judge\.variant='nice'"):
        FakeJudge(variant="nice")


def test_an_identity_says_who_judges_and_how():
    identity = FakeJudge(temperature=0.7, variant="reference").identity()
    assert tuple(identity) == PROTOCOL
    assert identity == {
        "judge": "fake",
        "model": "rule",
        "version": "1",
        "temperature": 0.7,
        "seed": None,
        "variant": "reference",
        "prompt_sha": prompt_sha(),
        "settings": {},
    }


def test_a_reply_depends_on_the_messages_unless_a_judge_says_otherwise():
    answer = record("gqa", 1, "red")
    messages = build_messages(answer)
    assert FakeJudge().content(JudgeRequest(answer, messages)) == list(messages)


def test_no_judge_is_nobody():
    assert no_judge() is None
