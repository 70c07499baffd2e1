"""Rows of answers, assembled from sums. Pure."""

from __future__ import annotations

from typing import Any

from gatehouse.store import figures, tally, times
from gatehouse.store.tally import LATEST, Key, Values


def usage(values: Values, *, bucket: str | None, group: figures.Group) -> figures.UsageRow:
    counted = tally.token_counts(values)
    return figures.UsageRow(
        bucket=bucket,
        group=group,
        calls=values["calls"],
        metered=values["metered"],
        estimated=values["estimated"],
        estimated_tokens=values["estimated_tokens"],
        estimated_share=tally.rate(values["estimated_tokens"], counted.input_total + counted.output_total),
        tokens=counted,
    )


def cost(values: Values, *, bucket: str | None, group: figures.Group) -> figures.CostRow:
    counts = {name: values[name] for name in ("calls", "priced", "free", "unknown_price")}
    return figures.CostRow(bucket=bucket, group=group, cost_nano_usd=tally.cost(values), **counts)


def errors(ended: list[tuple[Key, Values]], *, bucket: str | None, group: figures.Group) -> figures.ErrorRow:
    """From (outcome, code, status class) and their sums."""
    calls, errors = (sum(values[name] for _, values in ended) for name in ("calls", "errors"))
    shares: tuple[dict[str, int], dict[str, int], dict[str, int]] = ({}, {}, {})
    for (outcome, code, status), values in ended:
        for share, name in zip(shares, (outcome, code, f"{status}xx" if status else "none"), strict=True):
            if name is not None:
                share[name] = share.get(name, 0) + values["calls"]
    outcomes, codes, statuses = (
        {name: figures.Share(share[name], share[name] / calls) for name in sorted(share)} for share in shares
    )
    return figures.ErrorRow(
        bucket=bucket,
        group=group,
        calls=calls,
        errors=errors,
        error_rate=tally.rate(errors, calls),
        outcomes=outcomes,
        codes=codes,
        statuses=statuses,
    )


def use(values: Values) -> dict[str, Any]:
    return {
        "calls": values["calls"],
        "errors": values["errors"],
        "error_rate": tally.rate(values["errors"], values["calls"]),
        "tokens": tally.token_counts(values),
        "cost_nano_usd": tally.cost(values),
        "unknown_price": values["unknown_price"],
        "last_used": times.rfc3339(values[LATEST]),
    }
