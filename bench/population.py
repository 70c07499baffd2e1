"""Calls as an organisation of some size makes them: who calls what, how long it takes, what it costs. No I/O.

Each user has a key and a few models, used by habit, and some users call more than others. Durations are log-normal per
model; three in a hundred calls fail. The same seed gives the same calls.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from gatehouse.model.record import Candidate, Decision, Outcome
from gatehouse.model.usage import Usage

PROVIDERS: Final = ("openai", "anthropic", "google", "mistral", "groq")
MODELS: Final = 40
KEYS: Final = 200
USERS: Final = 500
PROJECTS: Final = 12
_HABIT: Final = 4
"""Models that a user calls."""
_Ended = Literal["ok", "refused", "upstream_error", "cut", "client_gone"]
_FAILED: Final[tuple[tuple[_Ended, int | None, str | None], ...]] = (
    ("upstream_error", 502, "UPSTREAM_ERROR"),
    ("cut", 200, "UPSTREAM_ERROR"),
    ("refused", 429, "RATE_LIMITED"),
    ("client_gone", None, None),
    ("ok", 400, None),
    ("ok", 500, None),
)


class _User(NamedTuple):
    user: str
    key: str
    project: str
    models: list[int]


class Population:
    """Its calls, one after the other."""

    def __init__(self, seed: int = 1) -> None:
        self._random = chance = random.Random(seed)
        # A few models have most of the calls.
        weights = [1 / (rank + 1) for rank in range(MODELS)]
        self._users = [
            _User(f"u{n:04}", f"k{n % KEYS:04}", f"p{n % PROJECTS}", chance.choices(range(MODELS), weights, k=_HABIT))
            for n in range(USERS)
        ]
        self._usual = [chance.uniform(13, 16) for _ in range(MODELS)]
        """Of the logarithm of a call's microseconds: half a second to nine."""

    def calls(self, began: Iterator[int]) -> Iterator[tuple[Decision, Outcome]]:
        """A call for each of these times, microseconds since the epoch."""
        for time in began:
            yield self._call(time)

    def _call(self, time: int) -> tuple[Decision, Outcome]:
        chance = self._random
        user = self._users[int(USERS * chance.random() ** 2)]
        model = user.models[int(_HABIT * chance.random())]
        provider = PROVIDERS[model % len(PROVIDERS)]
        rest = chance.getrandbits(74)
        call = str(uuid.UUID(int=(time // 1000) << 80 | 7 << 76 | (rest >> 62) << 64 | 2 << 62 | rest & (2**62 - 1)))
        served = Candidate(provider, f"https://api.{provider}.example", f"model-{model}")
        duration = int(chance.lognormvariate(self._usual[model], 0.6))
        usage = Usage(input=int(chance.lognormvariate(6, 1.5)), cache_read=200, output=int(chance.lognormvariate(5, 1)))
        decision = Decision(
            call=call,
            project=user.project,
            method="POST",
            path=f"/{provider}/v1/chat/completions",
            path_sent="/v1/chat/completions",
            surface="transparent",
            route=f"{provider}/chat",
            dialect="openai",
            operation="chat",
            candidates=(served,),
            model=f"model-{model}",
            key=user.key,
            user=user.user,
            user_agent="OpenAI/Python 3.52.0",
            temperature=0.2,
            request_bytes=1024,
            request_sha256="0123456789abcdef" * 4,
            price_version="2026.11.1",
            snapshot=1,
        )
        outcome = Outcome(
            call=call,
            project=user.project,
            outcome="ok",
            status=200,
            upstream_status=200,
            served=served,
            attempts=1,
            model=f"model-{model}-2026-07-18",
            response_id=f"chatcmpl-{call[:29]}",
            upstream_request_id=f"req_{call}",
            finish_reasons=("stop",),
            usage=usage,
            usage_source="provider",
            usage_check="ok",
            cost=usage.input * 150 + usage.output * 600,
            price="known",
            price_id=f"{provider}/model-{model}",
            price_version="2026.11.1",
            response_bytes=900,
            response_sha256="fedcba9876543210" * 4,
            upstream_bytes=900,
            first_byte_us=duration // 3,
            first_token_us=duration // 3,
            duration_us=duration,
        )
        return decision, outcome if chance.random() > 0.03 else self._failed(outcome)

    def _failed(self, outcome: Outcome) -> Outcome:
        how, status, code = self._random.choice(_FAILED)
        return Outcome(
            call=outcome.call,
            project=outcome.project,
            outcome=how,
            status=status,
            code=code,
            served=outcome.served,
            attempts=1,
            duration_us=outcome.duration_us,
        )
