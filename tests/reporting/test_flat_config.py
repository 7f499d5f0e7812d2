"""What of a config may be shown to others."""

import pytest

from coin_lightning.reporting.flat_config import HIDDEN, flat, hidden, without_secrets


def test_flat_keys() -> None:
    config = {"adapter": {"rank": 8, "targets": ["q", "v"]}, "plugin": {}, "seed": 0}
    assert dict(flat(config)) == {"adapter.rank": 8, "adapter.targets": ["q", "v"], "plugin": {}, "seed": 0}
    assert list(dict(flat(config, "/"))) == ["adapter/rank", "adapter/targets", "plugin", "seed"]


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "apikey",
        "API_KEY",
        "token",
        "hf_token",
        "client_secret",
        "password",
        "Authorization",
        "key",
        "X-API-Key",
        "api_keys",
        "passwords",
        "auth",
        "bearer",
        "Set-Cookie",
        "proxy-authorization",
    ],
)
def test_texts_are_hidden_by_their_name(name: str) -> None:
    assert without_secrets({"judge": {name: "abc"}}) == {"judge": {name: HIDDEN}}
    assert without_secrets({name: {"value": "abc", "size": 3}}) == {name: {"value": HIDDEN, "size": 3}}
    assert without_secrets({name: ["abc", "def"]}) == {name: [HIDDEN, HIDDEN]}


@pytest.mark.parametrize(
    "harmless",
    [
        {"api_key_env": "OPENAI_API_KEY"},
        {"max_tokens": 512},
        {"token": None, "password": ""},
        {"tokenizer": "llama", "monkey": "business", "keys": 3, "path": "/data/keys/file"},
        {"lr": 1e-3, "order": ["gqa", "vqav2"], "base_url": "http://127.0.0.1:8000/v1?seed=3"},
    ],
)
def test_what_is_no_secret_stays(harmless: dict[str, object]) -> None:
    assert without_secrets(harmless) == harmless


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:word@host/v1", f"https://{HIDDEN}@host/v1"),
        ("postgresql://me@host/db", f"postgresql://{HIDDEN}@host/db"),
        ("http://host/v1?api_key=abc&n=2", f"http://host/v1?api_key={HIDDEN}&n=2"),
        ("use sk-abcdefghijklmnop1234 here", f"use {HIDDEN} here"),
        ("hf_abcdefghijklmnop1234", HIDDEN),
        ("https://hooks.slack.com/services/T0/B0/xyz", f"https://hooks.slack.com/services/{HIDDEN}"),
        ("+judge.api_key=abc", f"+judge.api_key={HIDDEN}"),
        ("judge.headers.Authorization=Bearer x", f"judge.headers.Authorization={HIDDEN}"),
        ("+judge.headers={Authorization: 'Bearer a, b', n: 3}", f"+judge.headers={HIDDEN}"),
        ('+judge.headers=[{"X-API-Key":abc}]', f"+judge.headers={HIDDEN}"),
        ("+judge={api_keys: [abc-def, ghi]}", f"+judge={HIDDEN}"),
        ("+judge={headers: {Authorization: {x: y}}}", f"+judge={HIDDEN}"),
        ('+judge={n: 2, api_key: "a\\"b, c"}', f"+judge={HIDDEN}"),
        ("+mine={max_tokens:512,tokenizer:v}", "+mine={max_tokens:512,tokenizer:v}"),
        ("+mine={max_tokens:abc}", f"+mine={HIDDEN}"),
        ("adapter.rank=8", "adapter.rank=8"),
        ("+mine.api_key=abc,adapter.rank=8 seed_0", f"+mine.api_key={HIDDEN},adapter.rank=8 seed_0"),
        ("/runs/e/adapter.rank=8,mine.token=abc/seed_0", f"/runs/e/adapter.rank=8,mine.token={HIDDEN}/seed_0"),
        ("answers.max_new_tokens=64", "answers.max_new_tokens=64"),
        ("answers.max_new_tokens=64,lr=1", "answers.max_new_tokens=64,lr=1"),
    ],
)
def test_secrets_within_texts(text: str, shown: str) -> None:
    assert hidden(text) == shown


def test_a_long_word_is_read_in_one_go() -> None:
    text = f"+a=[{'a' * 1_000_000}]"
    assert hidden(text) == text  # would take hours if every beginning were tried


def test_what_an_environment_variable_holds_is_hidden_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_API_KEY", "no-known-shape")
    monkeypatch.setenv("OTHER_TOKEN", "short")
    config = {"header": "Bearer no-known-shape", "a": "short"}
    assert without_secrets(config) == {"header": f"Bearer {HIDDEN}", "a": "short"}
