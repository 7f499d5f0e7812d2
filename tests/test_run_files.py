"""Configs of runs, which are parsed by sections, mean what plain yaml means."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from coin_lightning.config_folder import dump_yaml, load_yaml
from coin_lightning.errors import RunError
from coin_lightning.run_files import MOST, _config_in, read_config, write_config

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | st.sampled_from(
        ["a: 1\nb: 2", "'", '"\nc: "', "- x\n", "&a", "*a", "---\n", "...\nz: 1", "# no comment", "null", "1e5"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
TEXTS = {
    "comments and blank lines": "# first\n\na: 1\n# second\nb:\n  # third\n  c: 2\n\n",
    "a section is said twice": "a: 1\nb: 2\na: {c: 3}\n",
    "a reference into another section": "a: &x {k: [1, 2]}\nb: *x\n",
    "a mapping taken over": "a: &x {k: 1}\n<<: *x\nb: 2\n",
    "a text over lines": "a: 'one\n\n  b: two'\nc: |\n  d: 1\n  e\nf: >\n  g\n",
    "a text that is not indented": 'a: "one\nb: two"\n',
    "a list at the left edge": "a:\n- 1\n- b: 2\n  c: 3\nd: []\n",
    "a document's marks": "---\na: 1\n...\n",
    "keys that are no words": '"a b": 1\n? c\n: 2\n3: 4\nd: 5\n',
    "a flow": "{a: 1,\nb: 2}\n",
    "no mapping": "word\n",
    "nothing": "",
}


@given(st.dictionaries(st.text(max_size=12), VALUES, max_size=5))
def test_a_config_is_read_as_yaml_reads_it(config: dict[str, Any]) -> None:
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    found, values = _config_in(text)
    whole = load_yaml(text)
    assert found == whole
    assert list(found) == list(whole)
    assert values >= len(whole)


@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_other_hands(name: str) -> None:
    assert _config_in(TEXTS[name])[0] == load_yaml(TEXTS[name])


def test_what_one_reader_changes_another_does_not_see(tmp_path: Path) -> None:
    write_config(tmp_path, {"adapter": {"rank": 8, "targets": ["q"]}, "seed": 0})
    first = read_config(tmp_path)
    first["adapter"]["targets"].append("v")
    first["adapter"]["rank"] = 16
    assert read_config(tmp_path) == {"adapter": {"rank": 8, "targets": ["q"]}, "seed": 0}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: [\n", "did not find expected node content"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
        ("- a\n", "it holds no config"),
        ("", "it holds no config"),
        ("a: &a [*a]\nb: 1\n", "recursion"),
        ("a: *x\n", "undefined alias"),
    ],
)
def test_what_is_no_config(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RunError, match="nobody knows what was run here") as raised:
        read_config(tmp_path)
    assert reason in str(raised.value)


@pytest.mark.parametrize("sections", [1, 40])
def test_references_that_stand_for_more_than_any_memory_holds(sections: int, tmp_path: Path) -> None:
    """In one section or in many, each of which is small by itself."""
    lines = 20 if sections == 1 else 12
    bomb = ["  l0: &{0}0 [1]", *(f"  l{at}: &{{0}}{at} [*{{0}}{at - 1}, *{{0}}{at - 1}]" for at in range(1, lines))]
    text = "".join("\n".join([f"s{at}:", *bomb]).format(f"x{at}_") + "\n" for at in range(sections))
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RunError, match=f"stand for more than {MOST} values"):
        read_config(tmp_path)


@given(st.dictionaries(st.text(max_size=12), VALUES, max_size=5))
def test_what_is_written_is_read_back(config: dict[str, Any]) -> None:
    written = dump_yaml(config)
    assert load_yaml(written) == yaml.safe_load(written) == config
    assert list(load_yaml(written)) == list(config)
