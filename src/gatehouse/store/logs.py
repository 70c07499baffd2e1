"""Calls and their statistics in the words of the TruePortAI gateway's analytics. Pure.

Rules: field names and units are theirs (milliseconds and US dollars as numbers, token sums); `null` is unknown, never
zero. A key is named by the id of a gateway key (which `control.masks` shows masked), or by the keyed hash of the
provider key its caller brought.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

import msgspec

from gatehouse.store import tally
from gatehouse.store.tally import Sums
from gatehouse.store.views import Time, TraceSummary

MOST_NAMES: Final = 1000
"""Providers, and models, in one answer."""
_NANO: Final = 1_000_000_000
_PREFIXED: Final = re.compile(r".*?/(?:v\d+(?:(?:alpha|beta)\d*)?|deployments/[^/]+)(?=/|$)")
_DETECTED: Final = ("pii", "injection", "bias", "exfiltration")


class LogItem(msgspec.Struct, frozen=True, kw_only=True):
    """One call."""

    id: str
    timestamp: Time
    """When it began, RFC 3339."""
    api_key: str | None
    path: str | None
    """At the provider, without prefix and version."""
    method: str | None
    status_code: int | None
    latency_ms: float | None
    request_size_bytes: int | None
    response_size_bytes: int | None
    provider: str | None
    model: str | None
    """Model asked."""
    prompt_tokens: int | None
    """All on the prompt side, cached included."""
    completion_tokens: int | None
    """All generated, reasoning included."""
    cost_usd: float | None


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of calls, newest first. `total`: of all pages."""

    items: list[LogItem]
    total: int
    offset: int
    limit: int


class TokenTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over a period."""

    prompt: int
    completion: int
    total: int


class ViolationCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What was detected: `null` while nothing is looked for."""

    total: int | None
    by_type: dict[str, int | None]
    """`pii`, `injection`, `bias`, `exfiltration`."""
    critical: int | None
    high: int | None


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """A period's numbers."""

    period: str
    total_requests: int
    total_cost_usd: float | None
    """Of the calls whose cost is known; `null` where prices are unknown and no cost is known."""
    total_tokens: TokenTotals
    avg_latency_ms: float | None
    error_rate_pct: float | None
    by_provider: dict[str, int]
    """Numbers of calls, most first; those without a provider are in the total only."""
    by_model: dict[str, int]
    violations: ViolationCounts


def item(call: TraceSummary) -> LogItem:
    """A call in their words."""
    counted = call.tokens
    return LogItem(
        id=call.id,
        timestamp=call.started_at,
        api_key=call.key or call.provider_key_hash,
        path=short_path(call.path_sent or call.path),
        method=call.method,
        status_code=call.status,
        latency_ms=None if call.duration_us is None else call.duration_us / 1000,
        request_size_bytes=call.request_bytes,
        response_size_bytes=call.response_bytes,
        provider=call.provider,
        model=call.model,
        prompt_tokens=None if counted is None else counted.input_total,
        completion_tokens=None if counted is None else counted.output_total,
        cost_usd=None if call.cost_nano_usd is None else call.cost_nano_usd / _NANO,
    )


def short_path(path: str | None) -> str | None:
    """`/v1/chat/completions?alt=sse`, `/openai/deployments/d/chat/completions` → `/chat/completions`."""
    if path is None:
        return None
    bare = path.partition("?")[0]
    match = _PREFIXED.match(bare)
    return bare if match is None else bare[match.end() :] or "/"


def stats(period: str, sums: Sums) -> Stats:
    """From sums by provider and model."""
    values = sums.total()
    counted = tally.token_counts(values)
    spent = tally.cost(values)
    errors = tally.rate(100 * values["errors"], values["calls"])
    by_provider: Counter[str] = Counter()
    by_model: Counter[str] = Counter()
    for (_, provider, model), each in sums.items():
        if provider is not None:
            by_provider[provider] += each["calls"]
        if model is not None:
            by_model[model] += each["calls"]
    return Stats(
        period=period,
        total_requests=values["calls"],
        total_cost_usd=None if spent is None else spent / _NANO,
        total_tokens=TokenTotals(
            prompt=counted.input_total,
            completion=counted.output_total,
            total=counted.input_total + counted.output_total,
        ),
        avg_latency_ms=values["waited"] // values["ended"] / 1000 if values["ended"] else None,
        error_rate_pct=None if errors is None else round(errors, 4),
        by_provider=dict(by_provider.most_common(MOST_NAMES)),
        by_model=dict(by_model.most_common(MOST_NAMES)),
        violations=ViolationCounts(total=None, by_type=dict.fromkeys(_DETECTED), critical=None, high=None),
    )
