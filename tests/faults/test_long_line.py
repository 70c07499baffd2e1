"""I9: a line of 100 MB passes, whole, in constant memory; what is too large to read is noted, and usage still known."""

from __future__ import annotations

import hashlib
import re
import resource
import socket
from collections.abc import Iterator

import pytest

from tests.fakes.misbehaving import Peer, Spoken, head, misbehaving, pieces
from tests.faults.rows import DIALECTS, ROWS
from tests.faults.running import Cell, settings_for
from tests.pipeline.house import house

PIECE = b"l" * 65_536
SIZE = 100 * 1024 * 1024
MEMORY = 48 * 1024
"""KiB the process may grow by."""


class Lengthy:
    """Sends a good answer with 100 MB of text in one place, and knows the hash of it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        answer = peer.answer()
        await peer.send(head(answer, "chunked"))
        for piece in self._pieces(pieces(answer)):
            self.digest.update(piece)
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await peer.send(b"0\r\n\r\n")

    def _pieces(self, whole: tuple[bytes, ...]) -> Iterator[bytes]:
        text = b'"Hello'
        number = next(number for number, piece in enumerate(whole) if text in piece)
        before, _, after = whole[number].partition(text)
        yield from whole[:number]
        yield before + text
        for _ in range(SIZE // len(PIECE)):
            yield PIECE
        yield after
        yield from whole[number + 1 :]


@pytest.mark.soak
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_I9_a_line_of_100_MB(dialect: Spoken, streamed: bool) -> None:
    way = Lengthy()
    with misbehaving() as fake:
        cell = Cell(next(row for row in ROWS if row.at == "here"), dialect, streamed, 0)
        cell.port = fake.listen(way, dialect).port
        with house(settings_for([cell])) as running:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            end = b""
            with socket.create_connection(("127.0.0.1", running.port), timeout=60) as client:
                client.sendall(cell.request())
                while piece := client.recv(262_144):
                    end = (end + piece)[-5:]
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            outcome = running.wait(1).outcomes[0]
    assert end == b"0\r\n\r\n", "a proper end"
    assert outcome.outcome == "ok" and outcome.response_bytes > SIZE
    if not (dialect == "openai" and streamed):  # there usage is taken out again
        assert outcome.response_sha256 == way.digest.hexdigest()
    assert outcome.usage_source == "provider"
    assert re.search("too large to read: 1|larger than", outcome.usage_note or "")
    assert grown < MEMORY
