"""The scripts, their names on the server, and the shapes that go in and out. The rules stand in the scripts themselves.

Amounts and times are integers: nano-dollars, tokens, calls; Unix microseconds.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Any, Final, NamedTuple

import hiredis
import msgspec

from gatehouse.limits.shared.connection import Answer, Connection


class Script(NamedTuple):
    """A script's text and the digest the server knows it by."""

    text: bytes
    digest: bytes

    def command(self, place: bytes, argument: bytes, *, whole: bool = False) -> tuple[bytes, ...]:
        """Run it on the keys that begin so; `whole` where the server does not know it yet."""
        verb = (b"EVAL", self.text) if whole else (b"EVALSHA", self.digest)
        return (*verb, b"1", place, argument)

    async def run(self, connection: Connection, place: bytes, argument: bytes) -> Answer:
        """What the server says. Raises `Unanswered`, `hiredis.ReplyError`."""
        try:
            return await connection.call(*self.command(place, argument))
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            return await connection.call(*self.command(place, argument, whole=True))


class State(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One counter after a batch."""

    used: int
    """Of spend: what is reserved."""
    settled: int
    granted: int
    granule: int
    left: int
    """Microseconds until the granule ends."""
    wait: int
    """Microseconds until what was refused may fit."""
    before: int
    """What thresholds go by, before the batch."""


class Batched(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What `ledger.lua` says to a batch."""

    status: str
    epoch: str
    seq: int
    at: int
    """The server's time."""
    removed: int
    results: tuple[tuple[int, ...], ...]
    states: tuple[State, ...]


def key(tenant: str) -> bytes:
    """What all keys of a tenant begin with; the braces keep them together in a cluster."""
    return b"gatehouse:{%b}" % tenant.encode()


def script(*names: str) -> Script:
    """Of one or several files: they see each other's functions."""
    text = b"".join(resources.files(__package__).joinpath(f"{name}.lua").read_bytes() for name in names)
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest().encode())


LEDGER: Final = script("windows", "ledger")
REBUILD: Final = script("rebuild")
BACKGROUND: Final = script("background")

_ENCODER: Final = msgspec.msgpack.Encoder()
_BATCHED: Final = msgspec.msgpack.Decoder(Batched, strict=False)
_WORDS: Final = msgspec.msgpack.Decoder(tuple[str, ...])


def packed(argument: tuple[Any, ...]) -> bytes:
    """An argument as the scripts read it."""
    return _ENCODER.encode(argument)


def batched(said: bytes) -> Batched:
    """Of `LEDGER`. Raises `msgspec.MsgspecError`."""
    return _BATCHED.decode(said)


def words(said: bytes) -> tuple[str, ...]:
    """Of `REBUILD`. Raises `msgspec.MsgspecError`."""
    return _WORDS.decode(said)
