"""How large a request may become: what all dialects share of it. `registry.Endpoint.extent` is the door.

Asked for only where a limit of tokens or spend is in scope, and of the body as it goes upstream; calls without such a
limit pay nothing for it. It is one more decoding, typed, that leaves texts where they are (0.4 ms/MiB).

Rules: sans-I/O; nothing here raises. What is known to be text counts by its bytes, what is known to be an inline image
or inline audio by formula, and everything else, new kinds of content included, as what nobody can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final

import msgspec

from gatehouse.dialects.extent_shapes import ABSENT
from gatehouse.dialects.scan import scan
from gatehouse.dialects.values import UNREADABLE
from gatehouse.model.call import Extent

UNREAD: Final = "the request is not what its endpoint takes, or too intricate to be read"
VALUE_BYTES: Final = 1024 * 1024

_NULL: Final = b"null"


def just_bytes(body: bytes) -> Extent:
    """Of requests that are text and nothing else: embeddings, moderations, images to be made."""
    return Extent(len(body))


def unread(size: int, why: str = UNREAD) -> Extent:
    """Of a request that nobody could read: it may hold anything."""
    return Extent(size, dear=True, window=True, stored=True, unbounded=why)


def present(raw: msgspec.Raw) -> bool:
    """Whether a member is there, and not `null`."""
    return raw is not ABSENT and bytes(memoryview(raw)[:4]) != _NULL


def length(raw: msgspec.Raw) -> int:
    """Bytes of a member as it stands."""
    return len(memoryview(raw))


def standard(raw: msgspec.Raw, values: frozenset[bytes]) -> bool:
    """Whether a member asks for nothing beyond the listed price: not there, `null`, or one of `values`, as in JSON."""
    return raw is ABSENT or bytes(raw).lower() in values


def begins(raw: msgspec.Raw, start: bytes) -> bool:
    """Whether a member's bytes begin so."""
    return bytes(memoryview(raw)[: len(start)]) == start


class Tally:
    """Adds up what a request holds beside its text."""

    __slots__ = ("answers", "audio", "dear", "file_searches", "images", "inline", "prediction", "rounds", "searches",
                 "stored", "tools", "unbounded", "window")  # fmt: skip

    def __init__(self) -> None:
        self.inline = 0
        self.images = 0
        self.audio = 0
        self.dear = False
        self.window = False
        self.stored = False
        self.tools = False
        self.answers = 1
        self.prediction = 0
        self.searches = 0
        self.file_searches = 0
        self.rounds = 0
        self.unbounded: str | None = None

    def add_image(self, data: msgspec.Raw) -> None:
        """An image in the body."""
        self.dear = True
        self.images += 1
        self.inline += length(data)

    def add_audio(self, data: msgspec.Raw) -> None:
        """Audio in the body whose tokens follow from its bytes."""
        self.dear = True
        self.audio += length(data)
        self.inline += length(data)

    def add_unknown(self, *, stored: bool = False) -> None:
        """Content whose size nobody can tell. `stored`: the provider keeps it."""
        self.dear = True
        self.window = True
        self.stored = self.stored or stored

    def refuse(self, why: str) -> None:
        """Nobody can say what this costs at most."""
        self.unbounded = self.unbounded or why

    def extent(self, size: int) -> Extent:
        """All of it, of a body of so many bytes."""
        return Extent(
            size=size,
            inline=self.inline,
            images=self.images,
            audio=self.audio,
            dear=self.dear,
            window=self.window,
            stored=self.stored,
            tools=self.tools,
            answers=self.answers,
            prediction=self.prediction,
            searches=self.searches,
            file_searches=self.file_searches,
            rounds=self.rounds,
            unbounded=self.unbounded,
        )


def reader(take: Callable[[bytes, Tally], None]) -> Callable[[bytes], Extent]:
    """(body) → its extent, by what `take` finds in it. `take` may raise one of `UNREADABLE`."""

    def extent(body: bytes) -> Extent:
        tally = Tally()
        try:
            take(body, tally)
        except UNREADABLE:
            return unread(len(body))
        return tally.extent(len(body))

    return extent


def in_slices(extent: Callable[[bytes], Extent], names: frozenset[str], body: bytes) -> Generator[None, None, Extent]:
    """The extent of a body above `limits.read_whole`; yields between slices.

    `names`: the members that matter beside the conversation, case-folded. The conversation itself is not read: its
    size is what nobody can tell.
    """
    found = yield from scan(body, names, VALUE_BYTES)
    if found.fault is not None or any(member.value is None for member in found.members):
        return unread(len(body))
    members = b",".join(b'"%b":%b' % (name.encode(), value) for name, value in found.values().items())
    rest = extent(b"{" + members + b"}")
    return msgspec.structs.replace(rest, size=len(body), dear=True, window=True)
