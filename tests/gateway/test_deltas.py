"""From one snapshot to the next."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.gateway import frames
from gatehouse.gateway.deltas import DeltaError, Draft, changes_nothing, delta, parts, whole
from gatehouse.gateway.snapshot import filled
from gatehouse.model.snapshot import SECTIONS, Change, Delta, Snapshot
from tests.gateway.entries import PLAIN, any_snapshots, key, sections, without


def apply(snapshot: Snapshot, change: Delta) -> Snapshot:
    draft = Draft(snapshot, change)
    draft.add(change)
    return draft.finish()


def _decoded(change: Delta) -> Delta:
    """As it arrives at a worker."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(change), type=Delta)


@settings(max_examples=25)
@given(any_snapshots(3), any_snapshots(7))
def test_a_delta_leads_from_the_old_to_the_new(old: Snapshot, new: Snapshot) -> None:
    before = msgspec.msgpack.encode(old)
    assert apply(old, delta(old, new)) == new
    assert apply(old, _decoded(delta(old, new))) == new
    assert msgspec.msgpack.encode(old) == before, "the old snapshot is never touched"


@settings(max_examples=25)
@given(any_snapshots(3), any_snapshots(7), st.integers(1, 7), st.booleans())
def test_in_parts_of_any_size_it_comes_to_the_same(old: Snapshot, new: Snapshot, most: int, all_of_it: bool) -> None:
    change = whole(new) if all_of_it else delta(old, new)
    pieces = list(parts(change, most))
    draft = Draft(old, pieces[0][0])
    for part, _ in pieces:
        assert sum(len(getattr(part, name).put) + len(getattr(part, name).drop) for name in SECTIONS) <= most
        draft.add(_decoded(part))
    assert [more for _, more in pieces] == [True] * (len(pieces) - 1) + [False]
    assert draft.finish() == new


@settings(max_examples=25)
@given(any_snapshots(3), any_snapshots(7))
def test_nothing_changes_exactly_where_nothing_differs(old: Snapshot, new: Snapshot) -> None:
    assert changes_nothing(delta(old, new)) is (msgspec.structs.replace(new, version=3) == old)
    assert changes_nothing(delta(old, msgspec.structs.replace(old, version=9)))


def test_what_stays_equal_stays_the_same_object() -> None:
    """So a whole snapshot that comes anew frees nothing at once, and who compares by identity does nothing anew."""
    old = filled(PLAIN, sections(50), 5)
    again = apply(old, _decoded(whole(msgspec.structs.replace(old, version=6))))
    assert again == msgspec.structs.replace(old, version=6)
    assert again.prices is old.prices and again.providers is old.providers
    assert all(again.keys[identity] is entry for identity, entry in old.keys.items())
    assert apply(old, Delta(base=5, version=5)) is old


def test_a_small_delta_names_only_what_differs() -> None:
    old = filled(PLAIN, sections(5_000), 5)
    gone, new = key(17).id, key(9_999)
    changed = without(sections(5_000), gone)
    changed.keys[new.id] = new
    change = delta(old, filled(PLAIN, changed, 6))
    assert (change.keys.put, change.keys.drop) == ({new.id: new}, (gone,))
    assert len(frames.encode(frames.Frame(change))) < 500


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Delta(base=4, version=6), "goes on from version 4, and 5 is held"),
        (Delta(base=5, version=6, keys=Change(drop=("key_9",))), "keys: key_9 is to go, and is not there"),
        (Delta(base=5, version=6, keys=Change(put={"key_8": key(1)})), "keys: the entry at key_8 says it is key_0"),
        (Delta(base=5, version=6, keys=Change(put={key(1).id: key(1, digest=b"short")})), "digest of key_.*5 bytes"),
        (Delta(base=0, version=6), "without providers or prices"),
    ],
)
def test_what_does_not_fit_is_refused(change: Delta, said: str) -> None:
    held = filled(PLAIN, sections(3), 5)
    with pytest.raises(DeltaError, match=said):
        apply(held, change)
    assert held == filled(PLAIN, sections(3), 5)


def test_parts_of_two_deltas_do_not_mix() -> None:
    held = filled(PLAIN, sections(3), 5)
    draft = Draft(held, Delta(base=5, version=6))
    with pytest.raises(DeltaError, match="5 → 7 among those of 5 → 6"):
        draft.add(Delta(base=5, version=7))
