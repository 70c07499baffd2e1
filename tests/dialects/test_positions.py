"""Where top-level members stand (I1): both ways of finding them agree with what a parser reads."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, TypeVar

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gatehouse.dialects.positions import doubt, locate, locate_slices, names

T = TypeVar("T")
WANTED = names("max_tokens", "generationConfig")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(['"max_tokens":', "\\", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["max_tokens", "a"]), inner, max_size=2)
    ),
    max_leaves=5,
)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")])


def drained(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: T = done.value
            return found


@given(
    st.dictionaries(st.sampled_from(["max_tokens", "generationConfig", "model", "größe", 'a"b']), VALUES, max_size=5),
    SEPARATORS,
    st.booleans(),
)
def test_values_stand_where_they_are_said_to_i1(
    members: dict[str, Any], separators: tuple[str, str], ascii_only: bool
) -> None:
    body = json.dumps(members, separators=separators, ensure_ascii=ascii_only).encode()
    spans = locate(body, WANTED)
    assert spans is not None
    assert {name: json.loads(body[slice(*span)]) for name, span in spans.items()} == {
        name: value for name, value in members.items() if name in WANTED.exact
    }
    assert drained(locate_slices(body, WANTED)) == spans
    assert drained(doubt(body, WANTED)) is None


GAPS = st.sampled_from(["", "", " ", "  ", "\n"])
NAMES = st.sampled_from(["max_tokens", "n", "n", r"a\"b", "größe"])
TEXTS = st.sampled_from(["1", r'"\"n\": 1"', '{"n":1}', '""', "[]"])


@given(st.lists(st.tuples(NAMES, GAPS, GAPS, TEXTS), min_size=1, max_size=6), GAPS)
def test_however_it_is_written_and_whatever_comes_twice(members: list[tuple[str, str, str, str]], last: str) -> None:
    """Against what whoever wrote the body knows: a name that comes twice never passes for one."""
    wanted = names("max_tokens", "n")
    body, spans, twice = b"", dict[str, tuple[int, int]](), False
    for name, before, between, value in members:
        body += f'{"," if body else "{"}{before}"{name}":{between}'.encode()
        twice = twice or name in spans
        if name in wanted.exact:
            spans[name] = (len(body), len(body) + len(value))
        body += value.encode()
    body += last.encode() + b"}"
    assert json.loads(body)
    assert locate(body, wanted) == (None if twice else spans)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"max_tokens":1,"max_tokens":2}', "`max_tokens` more than once"),
        (b'{"Max_Tokens":1}', "`Max_Tokens`"),
        (b'{"max_tokens":1,"MAX_TOKENS":2}', "`MAX_TOKENS`"),
        (b'{"generationconfig":{}}', "`generationconfig`"),
        (b'{"max_t\\u006fkens":1,"max_tokens":2}', "`max_tokens` more than once"),
        ('{"max_to\u212aens":1}'.encode(), "`max_to\u212aens`"),
        (b"[1]", "no JSON object"),
        (b'{"max_tokens":1', "no JSON object"),
        (b"", "no JSON object"),
    ],
)
def test_where_nobody_knows_what_is_read(body: bytes, why: str) -> None:
    """The Kelvin sign folds to `k`: a lenient parser may take it for one."""
    assert locate(body, WANTED) is None
    assert why in str(drained(doubt(body, WANTED)))


@given(st.text(max_size=6), st.text(max_size=6))
def test_other_names_may_be_anything(first: str, second: str) -> None:
    assume({first.casefold(), second.casefold()}.isdisjoint(WANTED.folded) and first != second)
    body = json.dumps({first: 1, "max_tokens": 5, second: 2}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assume(body.decode("utf-8", "ignore").encode() == body)
    spans = locate(body, WANTED)
    assert spans is not None
    assert body[slice(*spans["max_tokens"])] == b"5"
