import json

import pytest
from small_tokenizers import CHATML, backbone, byte_level, llama, marked, read, unigram
from tokenizers import AddedToken

from coin_lightning.backbones import tiny
from coin_lightning.backbones.base import IGNORE
from coin_lightning.backbones.plain_text import FILLER, PlainTextTokenizer
from coin_lightning.backbones.prompts import Turn

TOKENIZERS = {"bytes": byte_level, "llama": llama, "unigram": unigram, "tiny": tiny.byte_tokenizer}
PROMPT = {"bytes": "chatml", "llama": "vicuna_v1", "unigram": "vicuna_v1", "tiny": "chatml"}


@pytest.fixture(params=TOKENIZERS, scope="module")
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def tokenizer(kind):
    return TOKENIZERS[kind]()


def test_samples_without_a_marker_keep_their_tokens_and_the_private_copy_agrees(kind, tokenizer):
    """The copy is used for samples with a marker only; here it must say the same as the tokenizer itself."""
    plain = PlainTextTokenizer(tokenizer)
    model = backbone(tokenizer, PROMPT[kind])
    for turns in (
        [Turn("cat", "No", images=1)], [Turn("A cat", "No cat"), Turn(" two  blanks\n\nlines ", "x")],
        [Turn("é漢")], [Turn("a < b > c [d] /s> <s", "</ s>")],
    ):  # fmt: skip
        text, _, spans = model.prompt.render(turns)
        direct = tokenizer(text, return_offsets_mapping=True)
        assert plain.encode(text, spans).ids == direct["input_ids"]
        private = plain._private.encode(plain.disguised(text, spans))
        assert private.ids == direct["input_ids"]
        assert private.offsets == direct["offset_mapping"]


def test_no_marker_in_a_question_or_answer_becomes_a_token(kind, tokenizer):
    model = backbone(tokenizer, PROMPT[kind])
    specials = [*tokenizer.all_special_ids, model.image_token_id]

    def counted(*texts: str) -> tuple[list[int], list[int]]:
        ids, labels = model.tokens(model.prompt.render([Turn(*texts, images=1)]))
        return [ids.count(special) for special in specials], [label for label in labels if label != IGNORE]

    clean, _ = counted("cat x", "No x")
    for marker in PlainTextTokenizer(tokenizer).markers:
        found, learned = counted(f"cat {marker}x", f"No {marker}{marker}")
        assert found == clean
        written = tokenizer.decode(learned[:-1], skip_special_tokens=False)
        if "<unk>" not in written:  # the unigram model does not know every letter
            assert written.strip() == f"No {marker}{marker}"


def test_llama_by_hand():
    """In plain text the letters stand where the marker would have been, with no new start of a word."""
    small = backbone(llama(), "vicuna_v1", system="")
    assert marked(small, [Turn("cat</s>", "No</s>cat")]) == (
        "<s> ▁ USER : ▁cat <0x3C> <0x2F> s <0x3E> ▁ ASSISTANT : [▁No] [<0x3C>] [<0x2F>] [s] [<0x3E>] [c] [a] [t] [</s>]"
    )
    assert marked(small, [Turn("<image>", "<s>", images=1)]) == (
        "<s> ▁ USER : ▁ <image> <image> <image> <image> ▁ \n <0x3C> i m a g e <0x3E> ▁ ASSISTANT : "
        "[▁] [<0x3C>] [s] [<0x3E>] [</s>]"
    )


def test_chatml_by_hand():
    small = backbone(byte_level(), "chatml")
    assert marked(small, [Turn("a<|im_end|>", "<image> cat")]) == (
        "<|im_start|> user Ċ a < | i m _ e n d | > <|im_end|> Ċ <|im_start|> assistant Ċ "
        "[<] [i] [m] [a] [g] [e] [>] [Ġcat] [<|im_end|>]"
    )


def test_a_unigram_model_that_has_the_marker_among_its_words_by_hand():
    small = backbone(unigram(), "vicuna_v1", system="")
    assert unigram()("x</s>", add_special_tokens=False).tokens() == ["▁", "x", "</s>"]
    assert marked(small, [Turn("x</s>", "</s>")]) == ("▁USER : ▁ x < / s > ▁ ASSISTANT : [▁] [<] [/] [s] [>] [</s>]")


def test_a_marker_that_only_the_border_makes_is_none():
    """The question ends as a marker begins, and the prompt goes on with the rest of its letters."""
    tokenizer = llama()
    tokenizer.add_tokens([AddedToken("t ASS", special=True, normalized=False)])
    small = backbone(tokenizer, "vicuna_v1", system="")
    assert "t ASS" in tokenizer.convert_ids_to_tokens(tokenizer("cat ASSISTANT")["input_ids"])
    assert marked(small, [Turn("cat", "No")]) == "<s> ▁ USER : ▁cat ▁ ASSISTANT : [▁No] [</s>]"


def test_what_counts_as_a_marker():
    tokenizer = byte_level()
    tokenizer.add_tokens(
        [AddedToken(text, special=False, normalized=False) for text in ("<think>", "[X]", "   ", "word")]
    )
    markers = PlainTextTokenizer(tokenizer).markers
    assert set(markers) == {*CHATML, "<think>", "[X]"}  # runs of blanks and whole words stay tokens of texts
    assert [len(marker) for marker in markers] == sorted(map(len, markers), reverse=True)
    tokenizer.add_tokens(["<think", "#"], special_tokens=True)
    assert {"<think", "#"} & set(PlainTextTokenizer(tokenizer).markers) == {"<think"}  # one character is no marker
    small = backbone(tokenizer, "chatml")
    assert read(small, [Turn("a", "<think>   [X]")])[1] == [*"<think>", "   ", *"[X]", "<|im_end|>"]


def test_the_disguise_keeps_every_place_and_no_text_can_write_it():
    plain = PlainTextTokenizer(byte_level())
    text = f"<|im_start|>a <|im_end|> {FILLER}<|im_end|>"
    disguised = plain.disguised(text, [(12, 26)])
    assert len(disguised) == len(text)
    assert disguised[12:26] == "a <|im_end|> \ufffd"
    assert not set(disguised[:12] + disguised[26:]) & set(text) - {FILLER}


def test_a_text_of_private_characters_is_no_marker_either():
    tokenizer = byte_level()
    plain = PlainTextTokenizer(tokenizer)
    secret = plain._spelling["<|im_end|>"]
    text = f"x{secret}<|im_end|>"
    assert plain.encode(text, [(0, len(text))]).ids.count(2) == 0
    assert plain.encode(text + "<|im_end|>", [(0, len(text))]).ids.count(2) == 1


def test_the_start_token_is_not_put_twice():
    plain = PlainTextTokenizer(llama())
    assert plain.encode("cat", []).ids == [1, *plain.encode("<s>cat", []).ids[1:]]
    assert plain.encode("<s>cat", []).ids.count(1) == 1
    assert plain.encode("<s>cat</s>", [(3, 10)]).ids.count(1) == 1


def test_merges_that_make_a_marker_are_left_out_of_the_copy():
    tokenizer = byte_level(words=("user", "system", "assistant", "Ġcat", "<|im_end|>"), regex=False)
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    assert ["<|im_end|", ">"] in merges
    small = backbone(tokenizer, "chatml")
    assert read(small, [Turn("a", "<|im_end|>")])[1] == ["<|im_end|", ">", "<|im_end|>"]


def test_the_tokenizer_itself_is_left_as_it_was():
    tokenizer = byte_level()
    before = tokenizer.backend_tokenizer.to_str()
    PlainTextTokenizer(tokenizer).encode("a<|im_end|>", [(0, 11)])
    assert tokenizer.backend_tokenizer.to_str() == before
