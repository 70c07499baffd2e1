"""dialects/nesting.py: strings and nested values end where they end, wherever the pieces are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.dialects.nesting import MAX_DEPTH, Skipper, spaces
from tests.dialects.samples import CUTS, cut

TEXTS = st.text(st.sampled_from('\\"{}[]a,'), max_size=20) | st.just("long " * 40) | st.just('say \\"so\\" ' * 20)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | st.just([0.25] * 60),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


@given(TEXTS, CUTS)
def test_a_string_ends_at_its_quote(text: str, cuts: list[int]) -> None:
    body = json.dumps(text).encode()
    skipper, offset, found = Skipper(), 0, -1
    for piece in cut(body[1:] + b', "rest"', cuts):
        end = skipper.string_end(piece, 0)
        if end >= 0:
            found = offset + end
            break
        offset += len(piece)
    assert found == len(body) - 1


@given(st.lists(VALUES, max_size=3) | st.dictionaries(TEXTS, VALUES, max_size=3), CUTS)
def test_a_nested_value_ends_at_its_bracket(value: Any, cuts: list[int]) -> None:
    body = json.dumps(value).encode()
    skipper, offset, found = Skipper(), 0, -1
    skipper.open(body[0])
    for piece in cut(body[1:] + b" ]}", cuts):
        end = skipper.nested_end(piece, 0)
        if end >= 0:
            found = offset + end
            break
        offset += len(piece)
    assert found == len(body) - 1
    assert skipper.fault is None


@pytest.mark.parametrize(
    ("body", "fault"), [(b"}", "brackets do not match"), (b"[" * 20_000, f"nested deeper than {MAX_DEPTH}")]
)
def test_what_does_not_match_is_a_fault(body: bytes, fault: str) -> None:
    skipper = Skipper()
    skipper.open(ord("["))
    assert skipper.nested_end(body, 0) == -1
    assert skipper.fault == fault


def test_spaces() -> None:
    assert spaces(b" \t\r\n x", 0) == 5
    assert spaces(b"  ", 1) == 2
