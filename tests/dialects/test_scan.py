"""dialects/scan.py against msgspec and the standard library: the same members, at the right places, in any split."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatehouse.dialects.scan import (
    MAX_MEMBERS,
    MAX_SLICED_STEPS,
    MAX_STEPS,
    PIECE,
    SLICE,
    Member,
    Scanner,
    scan,
    scan_now,
)
from tests.dialects.samples import CUTS, cut

NAMES = st.sampled_from(["model", "stream", "Model", "straße", "a", 'quote"d', "back\\slash", ""]) | st.text(max_size=6)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=120)
    | st.sampled_from(['\\"}{][', "\\" * 7, '"' * 5, "data " * 40, '{"model": "decoy"}']),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
WRITERS = st.sampled_from(
    [
        lambda value: json.dumps(value),
        lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
        lambda value: json.dumps(value, indent=3),
    ]
)


class Anything(frozenset[str]):
    """Wants every name."""

    def __contains__(self, name: object) -> bool:
        return True


def found(pieces: list[bytes], wanted: frozenset[str] = Anything()) -> Scanner:
    scanner = Scanner(wanted, 10_000)
    for piece in pieces:
        scanner.feed(piece)
    scanner.finish()
    return scanner


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), WRITERS, CUTS)
def test_members_and_their_places_agree_with_msgspec(rows: list[tuple[str, Any]], write: Any, cuts: list[int]) -> None:
    """Repeated names included: each is reported."""
    body = ("{" + ",".join(f"{write(name)}: {write(value)}" for name, value in rows) + " }").encode()
    scanner = found(cut(body, cuts))
    assert scanner.fault is None
    assert [member.name for member in scanner.members] == [name for name, _ in rows]
    for member, (_, value) in zip(scanner.members, rows, strict=True):
        assert member.value == body[member.start : member.end]
        assert json.loads(member.value) == value
        assert body[member.key_start : member.key_start + 1] == b'"'
    raws = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    assert {name: bytes(raw) for name, raw in raws.items()} == scanner.values()
    assert found([body]).members == scanner.members
    assert found([body[at : at + 1] for at in range(len(body))]).members == scanner.members


JUNK = st.lists(
    st.sampled_from([b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b" ", b"1", b"-", b"e", b"null", b'"a"', b"x"]),
    max_size=14,
).map(b"".join)


@given(JUNK | st.binary(max_size=30), CUTS)
@example(b'{"a":1}', [2, 3, 4, 5, 6])
@example(b'{"a":"\\', [6])
def test_any_bytes_in_any_split_are_judged_alike_and_nothing_raises(body: bytes, cuts: list[int]) -> None:
    whole, pieces = found([body]), found(cut(body, cuts))
    assert (whole.fault is None) == (pieces.fault is None)
    if whole.fault is None:
        assert whole.members == pieces.members
    try:
        msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    assert whole.fault is None


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"[]", b'"x"', b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,', b'{"a":1,}', b'{"a" 1}', b'{"a":1}x'],
)
def test_what_is_no_object_is_a_fault(body: bytes) -> None:
    assert found([body]).fault


@pytest.mark.parametrize("body", [b'{"a":01}', b'{"a":tru}', b'{"a":1.}', b'{"a":[1}}', b'{"a":{]}', b'{"a":,"b":1}'])
def test_wrong_scalars_and_brackets_are_a_fault_with_a_place(body: bytes) -> None:
    fault = found([body]).fault
    assert fault is not None and " at byte " in fault


def test_what_msgspec_refuses_is_found() -> None:
    """Lone surrogates, nesting beyond the recursion limit, numbers beyond all types, invalid UTF-8, NaN."""
    deep = b"[" * 5000 + b"]" * 5000
    body = b'{"t":"\\ud800 \xff","d":%b,"n":1e400,"i":1%b,"x":NaN,"model":"m"}' % (deep, b"0" * 3000)
    with pytest.raises((msgspec.DecodeError, RecursionError)):
        msgspec.json.decode(body)
    scanner = found([body], frozenset({"model"}))
    assert scanner.fault is None
    assert scanner.values() == {"model": b'"m"'}


def test_names_are_wanted_in_any_case_and_any_spelling() -> None:
    body = b'{"Model":1,"mo\\u0064el":2,"MODEL":3,"other":4}'
    scanner = found([body], frozenset({"model"}))
    assert [(member.name, member.value) for member in scanner.members] == [
        ("Model", b"1"),
        ("model", b"2"),
        ("MODEL", b"3"),
    ]


def test_what_is_held_is_bounded_i9() -> None:
    """Long values, long names, long numbers, endless repetition and depth cost no memory."""
    value = Scanner(frozenset({"a"}), 100)
    value.feed(b'{"a":"')
    for _ in range(100):
        value.feed(b"x" * 1000)
    value.feed(b'"}')
    value.finish()
    assert value.members == [Member("a", 1, 5, 100_007, None)] and value.fault is None
    name = found([b'{"' + b"n" * 5000 + b'":1}'])
    assert name.members == [] and name.fault is None
    assert found([b'{"a":1' + b"0" * 5000 + b"}"]).fault == "number too long at byte 5"
    assert found([b"{" + b",".join([b'"a":1'] * 1000) + b"}"]).fault == "names are repeated too often"
    assert len(found([b"{" + b",".join([b'"a":1'] * 1000) + b"}"]).members) == MAX_MEMBERS + 1
    assert "nested deeper" in (found([b'{"a":' + b"[" * 20_000]).fault or "")


def test_an_open_member_is_known_by_name() -> None:
    scanner = found([b'{"id":"x","choices":[{"mess'], frozenset({"choices", "id", "usage"}))
    assert scanner.names() == {"id", "choices"}
    assert scanner.values() == {"id": b'"x"'}


def test_slices_let_the_loop_run() -> None:
    """A large body is scanned in slices; each costs little, also where the body is made to be slow."""
    image = b'{"image":"' + b"QUJD" * (2 * SLICE) + b'","model":"m"}'
    hostile = b'{"a":[' + b"{}," * 200_000 + b'{}],"model":"m"}'
    for body in (image, hostile):
        longest = min(_longest_slice(body) for _ in range(3))
        assert longest < 0.1, "a slice is about 1 ms; the bound leaves room for a busy machine"


def _longest_slice(body: bytes) -> float:
    """Seconds of this thread's own time."""
    longest, begun = 0.0, time.thread_time()
    slices = scan(body, frozenset({"model"}))
    count = 0
    while True:
        try:
            next(slices)
        except StopIteration as done:
            assert done.value.values() == {"model": b'"m"'}
            break
        count += 1
        now = time.thread_time()
        longest, begun = max(longest, now - begun), now
    assert count >= 7
    return longest


def test_scanning_in_slices_gives_up_too() -> None:
    """However fairly it is done: a small request, compressed, would keep a worker busy for a quarter of a minute."""
    slices = scan(b'{"a":[' + b"[]," * MAX_SLICED_STEPS + b'[]],"model":"m"}', frozenset({"model"}))
    with pytest.raises(StopIteration) as done:
        while True:
            next(slices)
    assert done.value.value.fault == "too intricate to be searched"
    assert done.value.value.steps < MAX_SLICED_STEPS + PIECE


def test_scanning_in_one_go_gives_up_on_a_hostile_body() -> None:
    hostile = b'{"a":[' + b"{}," * MAX_STEPS + b'{}],"model":"m"}'
    assert scan_now(hostile, frozenset({"model"})).fault == "too intricate to be searched"
    rng = random.Random(7)
    agent = {
        "messages": [{"role": "user", "content": f'say "{rng.random()}"\n' * 5} for _ in range(3000)],
        "model": "m",
    }
    assert scan_now(json.dumps(agent).encode(), frozenset({"model"})).values() == {"model": b'"m"'}
