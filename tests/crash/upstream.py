"""The upstream of a load: the fake APIs of all dialects, answers as large as asked for, and what it saw."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.fakes import Answer, Fake, Seen, anthropic_api, gemini_api, openai_api

SIZE = "x-answer-bytes"
"""Request header: so many bytes of answer, chunked."""

_PIECE = b"x" * 65_536


def answer(seen: Seen, error: int | None) -> Answer:
    """Of a size, or the fake API's own."""
    size = seen.header(SIZE)
    if size is None:
        if seen.path.startswith("/v1beta/"):
            return gemini_api.answer(seen, error)
        if seen.path == "/v1/messages":
            return anthropic_api.answer(seen, error)
        return openai_api.answer(seen, error)
    pieces = (_PIECE,) * (int(size) // len(_PIECE))
    return Answer(200, (("content-type", "application/octet-stream"),), events=pieces)


@dataclass(frozen=True, slots=True)
class Arrived:
    """One request as the upstream saw it."""

    id: str
    sha256: str
    """Of the body as it arrived."""


class Upstream:
    """What the upstream saw, each request kept as its digest only: a long load would not fit otherwise."""

    def __init__(self, fake: Fake) -> None:
        self.url = fake.url
        self.arrived: list[Arrived] = []
        self._fake = fake

    @property
    def connections(self) -> int:
        """Open ones."""
        return len(self._fake.live)

    def collect(self) -> list[Arrived]:
        """Everything seen so far."""
        requests = self._fake.requests
        count = len(requests)
        for seen in requests[:count]:
            self.arrived.append(Arrived(seen.header("x-test-id") or "", hashlib.sha256(seen.body).hexdigest()))
        del requests[:count]
        assert self._fake.faults == [], self._fake.faults
        return self.arrived


@contextmanager
def upstream() -> Iterator[Upstream]:
    """Serving until the end of the block."""
    with Fake(answer).serving() as fake:
        yield Upstream(fake)
