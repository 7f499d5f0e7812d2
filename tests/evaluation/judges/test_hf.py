"""A local model as a judge: a tiny one, whose replies are single digits."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_chat
import torch
from fake_judge import record
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from coin_lightning.errors import ConfigError, JudgeError
from coin_lightning.evaluation.judges.base import JudgeRequest
from coin_lightning.evaluation.judges.hf import HFJudge, LoadedModel
from coin_lightning.evaluation.judges.prompts import build_messages

ANSWERS = ["red", "blue", "a dog", "7 cats", "", "what", "none", "zero", "x"] * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chat.write(tmp_path_factory.mktemp("judge") / "tiny_chat")


@pytest.fixture
def judge(folder: Path) -> Callable[..., HFJudge]:
    return lambda **options: HFJudge(str(folder), device_map="cpu", **options)


def requests() -> list[JudgeRequest]:
    records = [record("gqa", number, answer * number) for number, answer in enumerate(ANSWERS)]
    return [JudgeRequest(each, build_messages(each)) for each in records]


def replies(judge: HFJudge) -> list[str]:
    return [reply.text for reply in sorted(judge.judge(requests()))]


def test_greedy_replies_against_one_prompt_at_a_time(folder: Path, judge: Callable[..., HFJudge]):
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    expected = []
    for request in requests():
        chat = tokenizer.apply_chat_template(list(request.messages), add_generation_prompt=True, return_tensors="pt")
        tokens, text = chat["input_ids"], ""
        while (best := int(model(tokens).logits[0, -1].argmax())) != tokenizer.eos_token_id:
            tokens, text = torch.cat([tokens, torch.tensor([[best]])], dim=1), text + tokenizer.decode(best)
        expected.append(text)
    found = replies(judge(batch_size=4))
    assert found == expected
    assert set(found) <= set("0123456789")
    assert len(set(found)) > 1


def test_batches_of_any_size_say_the_same(judge: Callable[..., HFJudge]):
    one = replies(judge(batch_size=1))
    assert replies(judge(batch_size=5)) == one
    assert replies(judge(batch_size=100)) == one


def test_drawing_with_a_seed_repeats_itself_and_differs_from_greedy(judge: Callable[..., HFJudge]):
    options = {"temperature": 2.0, "top_p": 0.95, "repetition_penalty": 1.05}
    first = replies(judge(seed=3, **options))
    assert replies(judge(seed=3, **options)) == first
    assert replies(judge(seed=4, **options)) != first
    assert replies(judge()) != first


def test_a_runs_own_random_state_is_left_alone(judge: Callable[..., HFJudge]):
    torch.manual_seed(7)
    expected = torch.rand(3)
    for options in ({}, {"temperature": 1.0}, {"temperature": 1.0, "seed": 3}):
        torch.manual_seed(7)
        replies(judge(**options))
        assert torch.equal(torch.rand(3), expected)


def test_a_low_top_p_leaves_the_most_likely(judge: Callable[..., HFJudge]):
    assert replies(judge(temperature=1.0, top_p=1e-6, seed=1)) == replies(judge())


def test_no_hidden_limit_on_the_drawing(judge: Callable[..., HFJudge]):
    drawn = Counter(replies(judge(temperature=1e4, seed=1, max_new_tokens=1)))
    assert len(drawn) > 5  # of all tokens, not of the likeliest fifty alone


def test_the_number_of_new_tokens_is_kept(judge: Callable[..., HFJudge]):
    assert all(len(reply) <= 1 for reply in replies(judge(max_new_tokens=1)))


def test_the_identity_names_everything_a_reply_depends_on(folder: Path, judge: Callable[..., HFJudge]):
    identity = judge(temperature=0.7, top_p=0.8, repetition_penalty=1.05, seed=2, quantization=None).identity()
    assert identity["model"] == "tiny_chat"
    assert identity["version"].startswith("files ")
    assert (identity["temperature"], identity["seed"]) == (0.7, 2)
    assert identity["settings"] == {
        "top_p": 0.8, "repetition_penalty": 1.05, "max_new_tokens": 20, "dtype": "auto", "quantization": None,
    }  # fmt: skip
    assert str(folder.parent) not in json.dumps(identity)
    assert judge().name == "hf_tiny_chat"


def test_nothing_is_loaded_before_the_first_question_and_it_is_let_go(judge: Callable[..., HFJudge]):
    tiny = judge()
    tiny.identity()
    assert tiny._loaded is None
    next(iter(tiny.judge(requests())))
    assert tiny._loaded is not None
    tiny.close()
    assert tiny._loaded is None


def test_a_template_without_system_role_gets_one_message(tmp_path: Path, judge: Callable[..., HFJudge]):
    loaded = LoadedModel(str(tiny_chat.write(tmp_path, template=tiny_chat.NO_SYSTEM)), None, "auto", None, "cpu")
    messages = requests()[0].messages
    assert loaded.prompt(messages) == (
        f"<|im_start|>user\n{messages[0]['content']}\n\n{messages[1]['content']}<|im_end|>\n<|im_start|>assistant\n"
    )
    plain = LoadedModel(str(tiny_chat.write(tmp_path / "plain")), None, "auto", None, "cpu")
    assert plain.prompt(messages) == (
        f"<|im_start|>system\n{messages[0]['content']}<|im_end|>\n"
        f"<|im_start|>user\n{messages[1]['content']}<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_model_without_chat_template_is_refused(tmp_path: Path):
    folder = tiny_chat.write(tmp_path / "base", template=None)
    with pytest.raises(JudgeError, match="has no chat template"):
        list(HFJudge(str(folder), device_map="cpu").judge(requests()))


@pytest.mark.parametrize("damage", ["no weights", "cut weights", "no tokenizer"])
def test_a_damaged_model_is_named(tmp_path: Path, damage: str):
    folder = tiny_chat.write(tmp_path / "damaged")
    weights = folder / "model.safetensors"
    if damage == "no weights":
        weights.unlink()
    elif damage == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").unlink()
    with pytest.raises(JudgeError, match=r"(?s)judge\.model='.*damaged' cannot be loaded by .*\nGive a folder with"):
        list(HFJudge(str(folder), device_map="cpu").judge(requests()))


def test_a_judge_whose_head_is_missing_does_not_grade_at_random(tmp_path: Path):
    folder = tiny_chat.write(tmp_path / "headless")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(JudgeError, match=r"judge\.model='.*headless': lacks 1 weights of a .*, e\.g\. lm_head\.weight"):
        list(HFJudge(str(folder), device_map="cpu").judge(requests()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, r"judge\.temperature=-1"),
        ({"top_p": 0}, r"judge\.top_p=0"),
        ({"top_p": 1.5}, r"judge\.top_p=1\.5"),
        ({"repetition_penalty": 0}, r"judge\.repetition_penalty=0"),
        ({"max_new_tokens": 0}, r"judge\.max_new_tokens=0"),
        ({"batch_size": 0}, r"judge\.batch_size=0"),
        ({"dtype": "float8"}, r"judge\.dtype='float8'"),
        ({"quantization": "int4"}, r"judge\.quantization='int4'"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        HFJudge("model", **options)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), r"memory ran out .*lower judge\.batch_size"),
        (RuntimeError("probability tensor contains inf"), r"could not answer \(probability .*another judge\.dtype"),
    ],
)
def test_a_model_that_cannot_answer_is_a_judge_that_failed(judge, monkeypatch, error: Exception, message: str):
    """A run goes on without such a one."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("transformers.LlamaForCausalLM.generate", fail)
    with pytest.raises(JudgeError, match=message):
        replies(judge())
