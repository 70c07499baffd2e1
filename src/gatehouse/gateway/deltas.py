"""From one snapshot to the next by what differs: made by control, applied by workers. Pure.

Rules: a `Draft` of `old` that was given `delta(old, new)` is `new`. The old snapshot is never touched: the draft grows
beside it, part by part, so that its owner can do something else between two of them (decoding 100 k keys at once held
a loop for 163 ms). What does not fit what is held (another base, an id to drop that is not there) is an error, and
never half applied. An entry that did not change stays the same object, so a whole snapshot sent anew costs no more
memory than one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from gatehouse.gateway.sound import DIGEST_BYTES
from gatehouse.model.access import KeyEntry
from gatehouse.model.snapshot import SECTIONS, Change, Delta, Snapshot

PART: Final = 2_000
"""Entries that are decoded and applied at a time: some 5 ms."""

NOTHING: Final = 0
"""The base of a delta that needs none."""


class DeltaError(ValueError):
    """It does not fit. The message names sections and ids, never what an entry holds."""


def delta(old: Snapshot, new: Snapshot) -> Delta:
    """What leads from `old` to `new`."""
    changes: dict[str, Any] = {name: _change(getattr(old, name), getattr(new, name)) for name in SECTIONS}
    return Delta(
        base=old.version,
        version=new.version,
        providers=None if old.providers == new.providers else new.providers,
        prices=None if old.prices == new.prices else new.prices,
        **changes,
    )


def whole(snapshot: Snapshot, cut: tuple[str, ...] = ()) -> Delta:
    """What leads from nothing to `snapshot`."""
    changes: dict[str, Change[Any]] = {name: Change(put=getattr(snapshot, name)) for name in SECTIONS}
    return Delta(
        base=NOTHING,
        version=snapshot.version,
        providers=snapshot.providers,
        prices=snapshot.prices,
        cut=cut,
        **changes,
    )


def changes_nothing(change: Delta) -> bool:
    """Whether both sides of it are the same but for the version."""
    return (
        change.providers is None
        and change.prices is None
        and not change.cut
        and not any(getattr(change, name).put or getattr(change, name).drop for name in SECTIONS)
    )


def parts(change: Delta, most: int = PART) -> Iterator[tuple[Delta, bool]]:
    """The same in parts of up to `most` entries, each with whether there are more."""
    providers, prices = change.providers, change.prices
    filled: dict[str, Any] = {}
    room = most
    for name in SECTIONS:
        section: Change[Any] = getattr(change, name)
        puts, drops = iter(section.put.items()), iter(section.drop)
        while True:
            put = dict(islice(puts, room))
            drop = tuple(islice(drops, room - len(put)))
            room -= len(put) + len(drop)
            if put or drop:
                filled[name] = Change(put=put, drop=drop)
            if room:
                break
            yield Delta(base=change.base, version=change.version, providers=providers, prices=prices, **filled), True
            providers = prices = None
            filled, room = {}, most
    last = Delta(base=change.base, version=change.version, providers=providers, prices=prices, cut=change.cut, **filled)
    yield last, False


class Draft:
    """The snapshot that follows `held`, growing part by part. `first`: the first part, or all of it.

    Raises `DeltaError` if it goes on from another version.
    """

    def __init__(self, held: Snapshot, first: Delta) -> None:
        if first.base not in (NOTHING, held.version):
            raise DeltaError(f"it goes on from version {first.base}, and {held.version} is held")
        self._held = held
        self._base, self._version = first.base, first.version
        self._providers = held.providers if first.base else None
        self._prices = held.prices if first.base else None
        self._sections: dict[str, dict[str, Any]] = {} if first.base else {name: {} for name in SECTIONS}
        self.entries = 0
        """Put and dropped so far."""
        self.cut: tuple[str, ...] = ()
        """Keys whose running calls end with it."""

    def add(self, part: Delta) -> None:
        """Apply the next part. Raises `DeltaError`; the draft is then of no use."""
        if (part.base, part.version) != (self._base, self._version):
            raise DeltaError(f"a part of {part.base} → {part.version} among those of {self._base} → {self._version}")
        if part.providers is not None:
            self._providers = part.providers
        if part.prices is not None:
            self._prices = part.prices
        for name in SECTIONS:
            change: Change[Any] = getattr(part, name)
            if change.put or change.drop:
                self._change(name, change)
        self.cut += part.cut

    def finish(self) -> Snapshot:
        """The snapshot: `held` itself where nothing differs. Raises `DeltaError` where parts are missing."""
        if self._providers is None or self._prices is None:
            raise DeltaError("a whole snapshot without providers or prices")
        held = self._held
        if (
            self._version == held.version
            and not self._sections
            and self._providers is held.providers
            and self._prices is held.prices
        ):
            return held
        kept = {name: getattr(held, name) for name in SECTIONS}
        return Snapshot(
            version=self._version,
            # What is equal stays the same object: nobody who compares by identity does anything anew.
            providers=held.providers if self._providers == held.providers else self._providers,
            prices=held.prices if self._prices == held.prices else self._prices,
            **kept | self._sections,
        )

    def _change(self, name: str, change: Change[Any]) -> None:
        before: Mapping[str, Any] = getattr(self._held, name)
        section = self._sections.get(name)
        if section is None:
            section = self._sections[name] = dict(before)
        for identity, entry in change.put.items():
            if entry.id != identity:
                raise DeltaError(f"{name}: the entry at {identity} says it is {entry.id}")
            if isinstance(entry, KeyEntry) and len(entry.digest) != DIGEST_BYTES:
                raise DeltaError(f"{name}: the digest of {identity} has {len(entry.digest)} bytes")
            known = before.get(identity)
            section[identity] = known if known == entry else entry
        for identity in change.drop:
            if section.pop(identity, None) is None:
                raise DeltaError(f"{name}: {identity} is to go, and is not there")
        self.entries += len(change.put) + len(change.drop)


def _change(old: Mapping[str, Any], new: Mapping[str, Any]) -> Change[Any]:
    if old is new:
        return Change()
    put = {identity: entry for identity, entry in new.items() if old.get(identity) != entry}
    return Change(put=put, drop=tuple(identity for identity in old if identity not in new))
