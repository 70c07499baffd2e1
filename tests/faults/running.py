"""Meeting every fault of the table at once: one data plane, one provider per cell of the table, raw clients.

A cell is a row, a dialect, and streamed or not. It makes the good calls its row wants before, the call that meets the
fault, and a good one after it, which shows whether the connection served again. What came of them is an `Observed`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gatehouse.config.settings import Provider, Settings, Timeouts
from gatehouse.model.record import Decision, Outcome
from tests.fakes.misbehaving import Listener, Misbehaving, Spoken
from tests.faults.before import PATIENCE
from tests.faults.rows import DIALECTS, ROWS, Place, Row
from tests.http.certificates import self_signed, server_context
from tests.pipeline.house import House

PATHS: dict[tuple[Spoken, bool], str] = {
    ("openai", False): "/v1/chat/completions",
    ("openai", True): "/v1/chat/completions",
    ("anthropic", False): "/v1/messages",
    ("anthropic", True): "/v1/messages",
    ("google", False): "/v1beta/models/gemini-2.5-flash:generateContent",
    ("google", True): "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
}
Key = tuple[Row, Spoken, bool]
"""A row, a dialect, streamed or not."""

_BIG = 1024 * 1024
_AT_ONCE = 24
"""Cells that run at the same time, beside those that only wait for a time-out."""
_SECONDS = 60.0
_NO_NAME = "x" * 64 + ".test"
"""Too long to be looked up, so that no test waits for a name server."""


@dataclass(frozen=True)
class Got:
    """An answer as a client reads it; `status` 0 if there was none. `clean`: it ended as it had announced."""

    status: int
    fields: dict[str, str]
    body: bytes
    clean: bool
    excess: bytes = b""
    """What came behind the announced end: a client would take what is before it for the whole."""


@dataclass
class Observed:
    """What a cell's calls came to. `got`, `decision`, `outcome`: of the call that met the fault."""

    got: Got
    after: Got | None
    decision: Decision
    outcome: Outcome
    listener: Listener | None
    sent: bytes
    """Body bytes the provider had sent, without framing."""
    connections: list[int]
    """The provider's connection of each exchange."""
    outcomes: list[Outcome]
    """Of all calls of the cell."""


@dataclass
class Cell:
    """One field of the table, with the provider that is there for it alone. `certificates`: what the gateway trusts."""

    row: Row
    dialect: Spoken
    streamed: bool
    number: int
    listener: Listener | None = None
    port: int = 0
    certificates: list[Path] = field(default_factory=list)

    @property
    def provider(self) -> str:
        return f"cell-{self.number}"

    @property
    def followed(self) -> bool:
        """Whether a good call can come after the fault."""
        return self.row.at == "here"

    def settings(self) -> Provider:
        scheme = "https" if self.row.at.startswith("tls") else "http"
        host = _NO_NAME if self.row.at == "unnamed" else "127.0.0.1"
        ca_file = str(self.certificates[0]) if self.certificates else None
        return Provider(base_url=f"{scheme}://{host}:{self.port}", dialect=self.dialect, ca_file=ca_file)

    def request(self, *, big: bool = False) -> bytes:
        text = "hi" * (_BIG if big else 1)
        asked: dict[str, object]
        if self.dialect == "google":
            asked = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        else:
            model = "gpt-4o-mini" if self.dialect == "openai" else "claude-sonnet-5"
            asked = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": text}]}
            if self.streamed:
                asked["stream"] = True
        body = json.dumps(asked).encode()
        return (
            b"POST /%b%b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"authorization: Bearer sk-of-the-caller\r\nx-api-key: sk-of-the-caller\r\n"
            b"anthropic-version: 2023-06-01\r\nx-goog-api-key: sk-of-the-caller\r\ncontent-length: %d\r\n\r\n%b"
            % (self.provider.encode(), PATHS[self.dialect, self.streamed].encode(), len(body), body)
        )


def cells(fake: Misbehaving, directory: Path, refusing: socket.socket) -> list[Cell]:
    """Every cell of the table with its provider listening. `refusing`: a bound socket on which nobody does."""
    ours, others = (self_signed(directory, names) for names in ("IP:127.0.0.1", "DNS:else.test"))
    strangers = self_signed(directory, "IP:127.0.0.1,DNS:stranger.test")
    # What the provider shows, and what the gateway trusts.
    shown: dict[Place, tuple[Path, Path]] = {
        "tls": (ours, ours),
        "tls of a stranger": (strangers, ours),
        "tls of another name": (others, others),
    }
    made: list[Cell] = []
    for row in ROWS:
        for dialect in DIALECTS:
            for streamed in (False, True):
                cell = Cell(row, dialect, streamed, len(made))
                made.append(cell)
                if row.at in ("refusing", "unnamed"):
                    cell.port = refusing.getsockname()[1]
                    continue
                context = None
                if row.at in shown:
                    certificate, trusted = shown[row.at]
                    cell.certificates = [trusted]
                    # A way that spoils the handshake needs the bare connection.
                    context = server_context(certificate) if row.at != "tls" else None
                cell.listener = fake.listen(row.way, dialect, turns=row.turns, tls=context, deaf=row.big)
                cell.port = cell.listener.port
    return made


def settings_for(made: list[Cell]) -> Settings:
    times = Timeouts(connect=PATIENCE, first_byte=PATIENCE, idle=PATIENCE)
    return Settings(providers={cell.provider: cell.settings() for cell in made}, timeouts=times)


async def meet_all(running: House, made: list[Cell]) -> dict[Key, Observed | BaseException]:
    """All cells, side by side; of one that could not be observed, why."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(cell: Cell) -> Observed:
        if _waits(cell):
            return await _meet(running, cell)
        async with gate:
            return await _meet(running, cell)

    async with asyncio.timeout(_SECONDS):
        observed = await asyncio.gather(*(one(cell) for cell in made), return_exceptions=True)
    return {(cell.row, cell.dialect, cell.streamed): seen for cell, seen in zip(made, observed, strict=True)}


def _waits(cell: Cell) -> bool:
    return " within {" in cell.row.plain.reason or " for {" in cell.row.plain.reason


async def _meet(running: House, cell: Cell) -> Observed:
    row, listener = cell.row, cell.listener
    for _ in range(row.warm):
        assert (await call(running, cell)).clean
    got = await call(running, cell, big=row.big)
    sent = b""
    if listener is not None:
        sent = listener.body
        if cell.followed:
            await _until(listener.over.is_set)
    after = await call(running, cell) if cell.followed else None
    calls = row.warm + 1 + cell.followed
    route = f"{cell.provider}/"
    await _until(lambda: len(_outcomes(running, route)) == calls)
    decisions = [decision for decision in running.journal.decisions if decision.route.startswith(route)]
    outcomes = _outcomes(running, route)
    return Observed(
        got=got,
        after=after,
        decision=decisions[row.warm],
        outcome=next(outcome for outcome in outcomes if outcome.call == decisions[row.warm].call),
        listener=listener,
        sent=sent,
        connections=list(listener.served_on) if listener is not None else [],
        outcomes=outcomes,
    )


def _outcomes(running: House, route: str) -> list[Outcome]:
    calls = {decision.call for decision in running.journal.decisions if decision.route.startswith(route)}
    return [outcome for outcome in tuple(running.journal.outcomes) if outcome.call in calls]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - it is about other threads
            await asyncio.sleep(0.01)


async def call(running: House, cell: Cell, *, big: bool = False) -> Got:
    loop = asyncio.get_running_loop()
    received = bytearray()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", running.port))
        await loop.sock_sendall(client, cell.request(big=big))
        with contextlib.suppress(ConnectionResetError):
            while piece := await loop.sock_recv(client, 262_144):
                received += piece
    return read(bytes(received))


def read(raw: bytes) -> Got:
    """An answer to the end of its connection."""
    head, blank, rest = raw.partition(b"\r\n\r\n")
    if not blank:
        return Got(0, {}, raw, False)
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first.split(" ")[1])
    if fields.get("transfer-encoding") == "chunked":
        return Got(status, fields, *_unchunked(rest))
    length = int(fields["content-length"])
    return Got(status, fields, rest[:length], len(rest) == length, rest[length:])


def _unchunked(data: bytes) -> tuple[bytes, bool, bytes]:
    """(body, clean, excess)"""
    pieces: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end], 16)
        at = end + 2
        if size == 0:
            return b"".join(pieces), data[at:] == b"\r\n", data[at + 2 :]
        pieces.append(data[at : at + size])
        at += size + 2
    return b"".join(pieces), False, b""
