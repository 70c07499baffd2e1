"""Random calls, as rows to store and as what a store then holds of them, put together in plain Python."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from gatehouse.store.present import TOKEN_PARTS
from gatehouse.store.rows import SHARED, Batch, Concluded, Decided
from gatehouse.store.writing import StoreWriter
from tests.store.samples import START, call_id, concluded, decided

Call = dict[str, Any]
"""A call's columns."""
SPAN = 20 * 86_400_000_000
"""The calls begin in [START, START + SPAN)."""

_NO_TOKENS: dict[str, Any] = {f"tokens_{part}": None for part in TOKEN_PARTS} | {"usage_source": None}
_ENDS = ("ok", "ok", "ok", "ok", "refused", "upstream_error", "cut", "client_gone", "blocked", "interrupted")


def pairs(count: int, seed: int, span: int = SPAN) -> list[tuple[Decided, Concluded | None]]:
    """Calls of two tenants, in no order, some of them not ended."""
    chance = random.Random(seed)
    return [_pair(chance, number, span) for number in range(count)]


def _pair(chance: random.Random, number: int, span: int) -> tuple[Decided, Concluded | None]:
    pick = chance.choice
    # Some at the very edges of hours, days and weeks.
    began = START + chance.randrange(span) // 1000 * 1000
    began -= pick((0, 0, began % 3_600_000_000, began % 86_400_000_000, (began + 3 * 86_400_000_000) % 604_800_000_000))
    began = max(began, START)
    call = call_id(began, number)
    tenant, project = pick(("default", "default", "default", "b")), pick(("default", "p2"))
    provider = pick(("openai", "anthropic", None))
    asked = decided(
        call,
        tenant=tenant,
        project=project,
        provider=provider,
        model=pick(("gpt-4o", "claude", "m" * 300, "", None)),
        route=pick(("openai/chat", "anthropic/messages", None)),
        key_id=pick(("k1", "k2", None)),
        provider_key_hash=pick(("a" * 32, "b" * 32, None)),
        user_id=pick(("u1", "u2", None)),
        team=pick(("search", None)),
        environment="prod" if project == "p2" else None,
        service=pick(("indexer", "bot", None)),
        tags=pick((None, '["team=search"]', '["team=search","nightly"]', '["nightly","nightly"]')),
    )
    if chance.random() < 0.1:
        return asked, None
    usage = _NO_TOKENS
    if chance.random() < 0.8:
        usage = {f"tokens_{part}": pick((0, chance.randrange(10_000))) for part in TOKEN_PARTS}
        usage["usage_source"] = pick(("provider", "provider", "estimated"))
    price = pick(("known", "free", "unknown", "not_applicable"))
    cost = {"known": chance.randrange(1, 10**9), "free": 0}.get(price)
    ended = concluded(
        call,
        tenant=tenant,
        project=project,
        provider=pick((None, provider)),
        outcome=pick(_ENDS),
        status=pick((200, 200, 200, 201, 302, 404, 429, 500, None)),
        code=pick((None, None, "UPSTREAM_ERROR", "UNAUTHORIZED")),
        model_answered=pick(("gpt-4o-mini-2024-07-18", "gpt-4o", None)),
        price=price,
        cost=cost,
        duration_us=pick((None, chance.randrange(3000), chance.randrange(10**7), chance.randrange(10**13))),
        first_token_us=pick((None, chance.randrange(10**6))),
        **usage,
    )
    return asked, ended


async def store(writer: StoreWriter, calls: list[tuple[Decided, Concluded | None]]) -> None:
    """In batches, ends before their beginnings in some."""
    for at in range(0, len(calls), 50):
        batch = calls[at : at + 50]
        first = Batch(tuple(asked for asked, _ in batch[::2]), tuple(ended for _, ended in batch[1::2] if ended))
        second = Batch(tuple(asked for asked, _ in batch[1::2]), tuple(ended for _, ended in batch[::2] if ended))
        await writer.apply(first)
        await writer.apply(second)


def merged(asked: Decided, ended: Concluded | None) -> Call:
    """What the store holds of a call."""
    if ended is None:
        nothing = dict.fromkeys(Concluded.__struct_fields__)
        return nothing | msgspec.structs.asdict(asked) | {"outcome": "open"}
    known = {
        name: value for name, value in msgspec.structs.asdict(ended).items() if name not in SHARED or value is not None
    }
    return msgspec.structs.asdict(asked) | known
