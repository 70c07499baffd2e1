"""Keys by which calls of an agent loop know each other: what a request and an answer carry, hashed for the record.

Rules: stateless, so that any worker on any machine makes the same key of the same thing; keyed with the tenant's
secret, as the hashes of provider keys are, so that a key says nothing to anybody without the secret; few. Ids are the
provider's own and long enough; a conversation in brief is not, so its key holds the caller's as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from gatehouse.model.call import Links

_DIGEST: Final = 8
"""Bytes: 16 hex digits."""
_REMEMBERED: Final = 1024
"""Callers."""
_SECRET: Final = 64
"""Bytes of a secret that BLAKE2b takes."""

_members: Final[Callable[[Links], tuple[tuple[str, ...], tuple[str, ...], bytes | None, bytes | None]]] = (
    msgspec.structs.astuple
)


class LinkKeys:
    """Makes keys under one secret."""

    __slots__ = ("_callers", "_ids", "_talks")

    def __init__(self, secret: bytes) -> None:
        self._ids = hashlib.blake2b(digest_size=_DIGEST, key=secret[:_SECRET], person=b"gatehouse id")
        self._talks = hashlib.blake2b(digest_size=_DIGEST, key=secret[:_SECRET], person=b"gatehouse talk")
        self._callers: dict[str, hashlib.blake2b] = {}
        """Digests that a caller's name has gone into."""

    def of_request(self, links: Links, caller: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What a request goes on from, and what a later one carries that goes on from it.

        `caller`: hash of its provider key.
        """
        ids, names, before, whole = _members(links)
        asked = self.of_ids(ids) if ids else ()
        offered = self.of_ids(names) if names else ()
        if before is not None:
            asked = (*asked, self._talk(before, caller))
        if whole is not None:
            offered = (*offered, self._talk(whole, caller))
        return asked, offered

    def of_ids(self, ids: tuple[str, ...]) -> tuple[str, ...]:
        """Of ids in the provider's words."""
        return tuple([self._id(each) for each in ids])

    def _id(self, name: str) -> str:
        digest = self._ids.copy()
        digest.update(name.encode("utf-8", "replace"))
        return digest.hexdigest()

    def _talk(self, brief: bytes, caller: str | None) -> str:
        known = self._callers.get(caller or "")
        digest = (known or self._begun(caller or "")).copy()
        digest.update(brief)
        return digest.hexdigest()

    def _begun(self, caller: str) -> hashlib.blake2b:
        digest = self._talks.copy()
        digest.update(b"%b " % caller.encode())
        if len(self._callers) >= _REMEMBERED:
            self._callers.clear()
        self._callers[caller] = digest
        return digest
