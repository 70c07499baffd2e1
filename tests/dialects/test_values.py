"""dialects/values.py: lenient, and never surprised."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.dialects.values import MAX_COUNT, UNREADABLE, Loose, count, real, size, text, tokens

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(ANYTHING)
def test_any_value_is_taken_or_left(value: Any) -> None:
    counted, number, word = count(value), real(value), text(value, 10)
    assert counted is None or 0 <= counted <= MAX_COUNT
    assert number is None or number == value
    assert word is None or len(word.encode()) <= 40
    assert size(value) >= 0
    msgspec.json.encode([counted, number, word])


@pytest.mark.parametrize(
    ("value", "expected"), [("fog", 3), ("Nebel über", 11), ("\u706f\u53f0", 6), ("", 0), (None, 0), ([], 0)]
)
def test_size_is_in_utf8_bytes(value: object, expected: int) -> None:
    assert size(value) == expected


def test_estimates_round_up() -> None:
    assert [tokens(size) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]


class Inner(msgspec.Struct):
    number: Any = None


class Outer(msgspec.Struct, rename="camel"):
    some_inner: Inner | None = None
    rows: list[Inner] | None = None
    word: Any = None


def test_members_of_the_wrong_shape_count_as_absent() -> None:
    loose = Loose(Outer)
    assert loose.decode(b'{"someInner":{"number":1},"rows":7,"word":"w","x":[]}') == Outer(Inner(1), None, "w")
    assert loose.decode(b'{"someInner":[],"rows":[{"number":2}],"word":"\\ud800"}') == Outer(None, [Inner(2)], "?")
    assert loose.decode(b'{"word":NaN}') == Outer()
    for wrong in (b"", b"[]", b"7", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(UNREADABLE):
            loose.decode(wrong)
