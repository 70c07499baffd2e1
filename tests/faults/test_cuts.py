"""An answer cut anywhere: never a proper end, never a byte the provider did not send (I1), always its one record (I2).

Every so many bytes of the wire, head and framing included, alternately by FIN and by RST.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.misbehaving import Peer, Spoken, framing_of, head, misbehaving, pieces
from tests.faults.rows import DIALECTS, ROWS
from tests.faults.running import Cell, Got, call, settings_for
from tests.faults.test_table import check_error, check_event, without_usage
from tests.pipeline.house import house

STEP = 13


class CutAt:
    """Sends so many bytes of a good answer, then ends the connection."""

    def __init__(self) -> None:
        self.at = 0
        self.size = 1
        """Bytes of the whole answer on the wire, once one was asked for."""
        self.body = b""

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        answer = peer.answer()
        framing = framing_of(answer)
        self.body = b"".join(pieces(answer))
        wire = [head(answer, framing)]
        for piece in pieces(answer):
            wire.append(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
        wire.append(b"0\r\n\r\n" if framing == "chunked" else b"")
        whole = b"".join(wire)
        self.size = len(whole)
        await peer.send(whole[: self.at])
        if self.at % 2:
            peer.reset()
        else:
            peer.close()


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_I1_I2_an_answer_cut_anywhere(dialect: Spoken, streamed: bool) -> None:
    way = CutAt()
    with misbehaving() as fake:
        cell = Cell(next(row for row in ROWS if row.at == "here"), dialect, streamed, 0)
        cell.port = fake.listen(way, dialect, turns=frozenset(range(10_000))).port
        with house(settings_for([cell])) as running:
            answers: list[Got] = []
            while way.at < way.size:
                answers.append(asyncio.run(call(running, cell)))
                way.at += STEP
            outcomes = running.wait(len(answers)).outcomes
    sent = without_usage(way.body) if dialect == "openai" and streamed else way.body
    for got, outcome in zip(answers, outcomes, strict=True):
        assert not got.excess
        assert (outcome.attempts, outcome.replayed, outcome.status) == (1, False, got.status)
        if got.status == 502:
            assert (outcome.outcome, got.clean) == ("upstream_error", True)
            check_error(dialect, got.body, outcome)
            continue
        assert (outcome.outcome, got.clean) == ("cut", False)
        told = b"gatehouse" in got.body or b'"code":"UPSTREAM_ERROR"' in got.body
        passed = check_event(dialect, got.body, sent, outcome) if told else got.body
        assert sent.startswith(passed)
        assert told or not streamed or sent == passed
    assert {got.status for got in answers} == {200, 502}
