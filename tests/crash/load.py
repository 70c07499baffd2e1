"""Clients that load a gateway: HTTP/1.1 over plain sockets, many at once, in a thread and event loop of their own.

Every call carries an id of its own, in the header `x-test-id` and in its body, so that its SHA-256 names it: what a
client sent, what the upstream saw and what the journal says can be held against each other. What a client saw of its
call stands in `Sent`. Rules: no client waits longer than `PATIENCE` for anything; who did is in `Load.stuck`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tests.crash.kinds import Kind
from tests.crash.upstream import SIZE

PATIENCE = 60.0
"""Seconds for one call. Nothing a load asks for takes a second by itself."""

End = Literal["unanswered", "partial", "whole", "left"]


@dataclass(slots=True)
class Sent:
    """One call as its client saw it."""

    kind: Kind
    id: str
    sha256: str
    """Of the request's body."""
    end: End = "unanswered"
    status: int = 0
    call: str = ""
    """`x-gatehouse-id` of the answer."""


class Load:
    """`clients` clients calling by turns of `kinds`, from `start`, or the beginning of the block, to `finish`."""

    def __init__(self, port: int, kinds: Sequence[Kind], clients: int, seed: int) -> None:
        self.sent: list[Sent] = []
        """Calls whose request was written, in that order."""
        self.whole = 0
        """Calls answered to the end."""
        self.begun = 0
        """Answers that began."""
        self.unreached = 0
        """Connections that could not be made."""
        self.stuck: list[Sent] = []
        self.running = 0
        """Calls under way."""
        self.failure: BaseException | None = None
        self._name = secrets.token_hex(6)
        self._port = port
        self._kinds = kinds
        self._clients = clients
        self._random = random.Random(seed)
        self._stopping = False
        self._next = 0
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> Load:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Begin no further call."""
        self._stopping = True

    def finish(self, seconds: float = PATIENCE + 10.0) -> None:
        """Begin no further call, and wait for those under way."""
        self.stop()
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"the clients did not end within {seconds} s"
        if self.failure is not None:
            raise self.failure
        assert self.stuck == [], f"{len(self.stuck)} calls got nothing for {PATIENCE} s: {self.stuck[:3]}"

    def __enter__(self) -> Load:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self._thread.join(PATIENCE + 10.0)

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as failure:  # noqa: BLE001 - shown by `finish`, in the test's own thread
            self.failure = failure

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._clients):
                group.create_task(self._client())

    async def _client(self) -> None:
        while not self._stopping:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.unreached += 1
                await asyncio.sleep(0.02)
                continue
            try:
                while not self._stopping and await self._call(reader, writer):
                    pass
            finally:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One call; true if the connection may carry another."""
        [kind] = self._random.choices(self._kinds, [kind.weight for kind in self._kinds])
        sent, head, body = self._request(kind)
        self.sent.append(sent)
        self.running += 1
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(head + (body[: len(body) // 2] if kind.leaves == "in the body" else body))
                await writer.drain()
                if kind.leaves in ("in the body", "at once"):
                    await asyncio.sleep(self._random.uniform(0.0, 0.05))
                    sent.end = "left"
                    return False
                return await self._answer(reader, sent)
        except TimeoutError:
            self.stuck.append(sent)
        except (OSError, asyncio.IncompleteReadError):
            pass  # `sent` says how far it came
        finally:
            self.running -= 1
        return False

    def _request(self, kind: Kind) -> tuple[Sent, bytes, bytes]:
        self._next += 1
        name = f"{self._name}-{self._next}"
        body = json.dumps(_asked(kind, name)).encode()
        lines = [
            f"POST {kind.path} HTTP/1.1",
            f"host: 127.0.0.1:{self._port}",
            "authorization: Bearer sk-load",
            "x-api-key: sk-load",
            "x-goog-api-key: sk-load",
            "anthropic-version: 2023-06-01",
            f"content-type: {kind.content_type}",
            f"content-length: {len(body)}",
            f"x-test-id: {name}",
            *([f"x-fake: {kind.fake}"] if kind.fake else []),
            *([f"{SIZE}: {kind.answer}"] if kind.answer else []),
        ]
        head = "\r\n".join([*lines, "", ""]).encode()
        return Sent(kind, name, hashlib.sha256(body).hexdigest()), head, body

    async def _answer(self, reader: asyncio.StreamReader, sent: Sent) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        sent.end, sent.status = "partial", int(lines[0].split(" ")[1])
        self.begun += 1
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        sent.call = fields.get("x-gatehouse-id", "")
        if fields.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
                if sent.kind.stops_reading:
                    while not self._stopping:  # noqa: ASYNC110 - set by another thread
                        await asyncio.sleep(0.05)
                if sent.kind.leaves or sent.kind.stops_reading:
                    sent.end = "left"
                    return False
            await reader.readexactly(2)
        else:
            await reader.readexactly(int(fields["content-length"]))
        sent.end = "whole"
        self.whole += 1
        return fields.get("connection") != "close"


def _asked(kind: Kind, name: str) -> dict[str, object]:
    """The body, which nobody else sends: `name` stands in it."""
    text = "x" * kind.padding
    stream = {"stream": True} if kind.stream else {}
    if kind.asks == "embeddings":
        return {"model": "text-embedding-3-small", "user": name, "input": text}
    if kind.asks == "google":
        return {"contents": [{"role": "user", "parts": [{"text": name + text}]}]}
    said = [{"role": "user", "content": text}]
    if kind.asks == "anthropic":
        known = {"model": "claude-sonnet-5", "max_tokens": 99, "metadata": {"user_id": name}}
        return {**known, **stream, "messages": said}
    return {"model": "gpt-4o", "user": name, **stream, "messages": said}
