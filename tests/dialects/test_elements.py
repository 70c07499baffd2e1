"""dialects/elements.py: an array in any split gives its elements; memory is bounded (I9)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.dialects.elements import Elements
from tests.dialects.samples import CUTS, GEMINI_ARRAY, cut

OBJECTS = st.dictionaries(st.text(max_size=4), st.text(max_size=20) | st.lists(st.integers(), max_size=3), max_size=4)


def read(pieces: list[bytes], limit: int = 10_000) -> tuple[list[Any], Elements]:
    elements = Elements(limit)
    return [json.loads(found) for piece in pieces for found in elements.feed(piece)], elements


@given(st.lists(OBJECTS | st.lists(OBJECTS, max_size=2), max_size=5), st.sampled_from([None, 2]), CUTS)
def test_any_split_gives_the_elements(values: list[Any], indent: int | None, cuts: list[int]) -> None:
    body = json.dumps(values, indent=indent).encode()
    found, elements = read(cut(body, cuts))
    assert found == values
    assert elements.ended and elements.fault is None


def test_an_object_alone_is_one_element_and_what_follows_is_not() -> None:
    found, elements = read([b' {"error": {"code"', b': 503}} {"x":1}'])
    assert found == [{"error": {"code": 503}}]
    assert elements.ended


def test_a_cut_array_has_not_ended() -> None:
    found, elements = read([GEMINI_ARRAY[:-3]])
    assert len(found) == 2
    assert not elements.ended and elements.fault is None


@pytest.mark.parametrize("body", [b"<html>", b"[1, 2]", b'["a"]', b"[{}}", b'[{"a":]]'])
def test_what_is_no_array_of_objects_is_a_fault(body: bytes) -> None:
    assert read([body])[1].fault


def test_an_element_above_the_limit_is_skipped_and_not_held_i9() -> None:
    elements = Elements(100)
    elements.feed(b'[{"image":"')
    for _ in range(1000):
        assert elements.feed(b"x" * 1000) == []
    assert elements.feed(b'"},{"a":1}]') == [b'{"a":1}']
    assert elements.skipped == 1
