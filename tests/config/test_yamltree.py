"""Strict YAML: the 1.2 core and nothing else, every refusal with its line. No file makes the reader crash."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.config import yamltree
from gatehouse.config.yamltree import Items, Mapping, Scalar, Tree, Unreadable


def parse(text: str) -> tuple[Tree | None, list[str]]:
    tree, problems = yamltree.parse(text, lambda line: f"f:{line}")
    return tree, [str(problem) for problem in problems]


def plain(tree: Tree | None) -> object:
    match tree:
        case Mapping(entries=entries):
            return {key: plain(value) for key, value in entries.items()}
        case Items(items=items):
            return [plain(item) for item in items]
        case Scalar(value=value):
            return value
        case None:
            return None


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("010", 10),
        ("0x10", 16),
        ("0o17", 15),
        ("-3", -3),
        ("1e3", 1000.0),
        ("2.50", 2.5),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2026-11-20", "2026-11-20"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("'5'", "5"),
        ("!!str 5", "5"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(written: str, value: object) -> None:
    tree, problems = parse(f"key: {written}\n")
    assert problems == []
    assert plain(tree) == {"key": value}


def test_what_was_written_and_where_is_kept() -> None:
    tree, _ = parse("a:\n  price: 2.50\n  other:\n    - x\n")
    assert isinstance(tree, Mapping)
    inner = tree.entries["a"]
    assert isinstance(inner, Mapping)
    assert inner.where == "f:1"
    assert inner.entries["price"] == Scalar(2.5, "2.50", "f:2")
    assert inner.entries["other"].where == "f:3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1\nb: *x\n", "f:2: `*x` refers to another place; write the value out here"),
        ("a: " + "[" * 100, "f:1: nested more than 32 levels deep"),
        ("a: 1\n---\nb: 2\n", "f:2: only one document (no second `---`) is allowed"),
        ("a: 1\nb: \x07\n", "f:2: holds a control character that YAML forbids"),
        ("a: b: c\n", "f:1: mapping values are not allowed here"),
        ("x" * (yamltree.MAX_BYTES + 1), f"f:1: larger than {yamltree.MAX_BYTES} bytes"),
    ],
)
def test_unreadable_text_says_where(text: str, message: str) -> None:
    with pytest.raises(Unreadable) as caught:
        parse(text)
    assert str(caught.value) == message


def test_all_problems_of_a_readable_text_are_named() -> None:
    _, problems = parse("a: 1\na: 2\nb: !!python/name:os.system x\n? [x]\n: 1\nc: !!int x\nd: 99999999999999999999\n")
    assert problems == [
        "f:2: a: is written twice; the first is at f:1",
        "f:3: b: tags (`!…`) are not read here; write a plain value",
        "f:4: a key must be text, not a list or a mapping",
        "f:6: c: is no number that can be read",
        "f:7: d: is no number that can be read",
    ]


def test_halves_of_a_character() -> None:
    """As JSON escapes what lies beyond U+FFFF; half of one alone is no text."""
    tree, problems = parse(r'a: "\ud83e\udd8a"')
    assert (plain(tree), problems) == ({"a": "🦊"}, [])
    _, problems = parse('a: 1\nb: "x\\ud83e"')
    assert [str(problem) for problem in problems] == [
        "f:2: b: holds half a character: an escape such as `\\ud83e` without its other half"
    ]


@given(st.text(max_size=200))
@settings(max_examples=300)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except Unreadable as error:
        assert str(error).startswith("f:")


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc-_9", min_size=1), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text("abc-_9", min_size=1), _VALUES, max_size=4))
@settings(max_examples=200)
def test_what_pyyaml_writes_is_read_back(value: dict[str, object]) -> None:
    text = yaml.dump(value, default_style='"', allow_unicode=True)
    tree, problems = parse(text)
    assert problems == []
    assert plain(tree) == (value or {})
