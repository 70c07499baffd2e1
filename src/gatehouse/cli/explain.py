"""`gatehouse explain`: what changed when spend, latency or errors did; from the store, the gateway running or not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from msgspec.structs import replace
from rich import box
from rich.table import Table
from rich.text import Text

from gatehouse.cli.listing import console
from gatehouse.cli.moments import Moment, MomentType, at
from gatehouse.cli.options import config_option, data_option, set_up, tenant_option
from gatehouse.cli.recorded import ask
from gatehouse.cli.report_names import naming
from gatehouse.cli.terminal import echo_csv, echo_json
from gatehouse.cli.words import about, counted, duration, number, percent, signed
from gatehouse.config.printable import clean
from gatehouse.store import explain, times
from gatehouse.store.explain import BASELINES, Compared, Contribution, Explanation, Metric
from gatehouse.store.reading import Reader

VERSION: Final = 1
"""Of the JSON form; documented in `docs/cli.md`."""
_MOST_NAMED: Final = 5
_SUBJECTS: Final[Mapping[Metric, str]] = {"cost": "Spend", "latency": "The mean latency", "errors": "Errors"}
_EACH: Final[Mapping[Metric, str]] = {"cost": "dearer", "latency": "slower", "errors": "failing more"}
_EACH_DOWN: Final[Mapping[Metric, str]] = {"cost": "cheaper", "latency": "faster", "errors": "failing less"}


@click.command(name="explain")
@click.argument("metric", type=click.Choice(["cost", "latency", "errors"]))
@click.option("--since", type=MomentType(), default="24h", show_default=True, help="A span, a date or time (UTC).")
@click.option("--until", type=MomentType(), help="The same; now, if not given.")
@click.option(
    "--baseline",
    default="previous",
    show_default=True,
    help="`previous`, `day`, `week` before, or two times with `/` between.",
)
@click.option("--limit", type=click.IntRange(1, 100), default=5, show_default=True, help="Values of each dimension.")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@tenant_option
@data_option
@config_option
@click.pass_obj
def command(
    environ: Mapping[str, str], /, metric: Metric, form: str, data: str | None, config: Path | None, **asked: Any
) -> None:
    """What accounts for a change in spend, latency or errors: providers, models, routes, keys, sizes …"""
    setup, tenant = set_up(environ, data, config), asked.pop("tenant")
    compared = _compared(**asked)

    async def read(reader: Reader) -> Explanation:
        return await reader.explain(metric, compared)

    found = ask(setup, tenant, read)
    if form == "json":
        echo_json({"v": VERSION, **msgspec.to_builtins(found)})
    elif form == "csv":
        echo_csv(Contribution, found.items)
    else:
        called = naming(setup, tenant, ((item.dimension, item.value) for item in found.items))
        items = [replace(item, value=called(item.dimension, item.value)) for item in found.items]
        found = replace(found, items=items)
        shown = console()
        shown.print(Text("\n".join(sentences(found))))
        if found.change is not None and told_apart(found):
            shown.print(table(found))


def _compared(since: Moment, until: Moment, baseline: str, limit: int) -> Compared:
    """Raises `click.UsageError`."""
    now = datetime.now(UTC)
    start, end = at(since, now), at(until, now) or now
    if start is None:
        raise click.BadParameter("a bounded window has something before it to be compared with", param_hint="'--since'")
    window = _window(start, end, "'--since'")
    if baseline in BASELINES:
        before = explain.baseline(baseline, *window)
    else:
        named = baseline.split("/")
        parts = [at(MomentType().convert(each, None, None), now) for each in named if len(named) == 2]
        if len(parts) != 2 or parts[0] is None or parts[1] is None:
            wanted = ", ".join(f"`{name}`" for name in BASELINES)
            raise click.BadParameter(f"neither of {wanted} nor two times with / between", param_hint="'--baseline'")
        before = _window(parts[0], parts[1], "'--baseline'")
    return Compared(since=window[0], until=window[1], base_since=before[0], base_until=before[1], limit=limit)


def _window(start: datetime, end: datetime, hint: str) -> tuple[int, int]:
    since, until = times.of(start), times.of(end)
    if since >= until:
        raise click.BadParameter("the window ends before it begins", param_hint=hint)
    return since, until


def sentences(found: Explanation) -> Iterator[str]:
    """What changed, and what accounts for most of it."""
    before, after = found.before, found.after
    windows = f"{_span(found.since, found.until)}, compared with {_span(found.baseline.since, found.baseline.until)}"
    if found.change is None:
        yield f"{_SUBJECTS[found.metric]}: {_amount(found.metric, before.amount)} before, " + (
            f"{_amount(found.metric, after.amount)} after, in {windows}: nothing to compare."
        )
        return
    moved = "did not change" if not found.change else f"{'rose' if found.change > 0 else 'fell'} by "
    if found.change:
        moved += _amount(found.metric, abs(found.change))
        if found.relative is not None:
            moved += f" ({percent(found.relative)})"
    yield (
        f"{_SUBJECTS[found.metric]} {moved}: {_amount(found.metric, before.amount)} → "
        f"{_amount(found.metric, after.amount)}, {counted(before.calls, 'call')} → {number(after.calls)}."
    )
    yield f"In {windows}."
    if found.metric == "latency":
        yield f"p95 {duration(before.p95_us)} → {duration(after.p95_us)}."
    if found.metric == "errors" and before.error_rate is not None and after.error_rate is not None:
        yield f"Error rate {100 * before.error_rate:.2f} % → {100 * after.error_rate:.2f} %."
    if before.unknown_price or after.unknown_price:
        yield (
            f"Not in it: {number(before.unknown_price)} → {number(after.unknown_price)} calls without a known price."
        )
    yield from _accounts(found)
    if found.too_many:
        yield f"Too many values to compare: {', '.join(found.too_many)}."


def _accounts(found: Explanation) -> Iterator[str]:
    """What accounts for most, of the dimensions that tell calls apart at all."""
    if not found.change:
        return
    first = found.items[0].dimension if found.items else ""
    volume = sum(item.volume or 0 for item in found.items if item.dimension == first)
    if volume:
        yield f"{'More' if volume > 0 else 'Fewer'} calls altogether account for {_change(found.metric, volume)}."
    top = [items[0] for items in told_apart(found).values() if (items[0].change or 0) * found.change > 0]
    top.sort(key=lambda item: -abs(item.change or 0))
    if top:
        named = (
            f"{item.dimension} {_value(item)} {_change(found.metric, item.change)} ({100 * (item.share or 0):.0f} %)"
            for item in top[:_MOST_NAMED]
        )
        yield f"Most of it: {', '.join(named)}."


def told_apart(found: Explanation) -> dict[str, list[Contribution]]:
    """By dimension, but for those in which all calls are alike: they account for everything, and explain nothing."""
    grouped = itertools.groupby(found.items, lambda item: item.dimension)
    dimensions = {dimension: list(items) for dimension, items in grouped}
    return {dimension: items for dimension, items in dimensions.items() if len(items) > 1}


def table(found: Explanation) -> Table:
    """A line per value, dimension by dimension."""
    shown = Table(box=box.SIMPLE, pad_edge=False)
    shown.add_column("by")
    shown.add_column("", overflow="fold")
    for heading in ("calls before", "calls", "before", "after", "change", "share"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("of which", overflow="fold")
    for dimension, items in told_apart(found).items():
        for position, item in enumerate(items):
            shown.add_row(
                "" if position else dimension,
                Text(_value(item)),
                number(item.calls_before),
                number(item.calls_after),
                _amount(found.metric, item.before),
                _amount(found.metric, item.after),
                _change(found.metric, item.change),
                "" if item.share is None else f"{100 * item.share:.1f} %",
                _why(found.metric, item),
            )
        shown.add_section()
    return shown


def _why(metric: Metric, item: Contribution) -> str:
    """The effects that are worth a word: those above a tenth of the contribution."""
    if item.state in ("new", "vanished"):
        return item.state
    each = (_EACH if (item.per_call or 0) > 0 else _EACH_DOWN)[metric]
    effects = {
        "more calls" if (item.volume or 0) > 0 else "fewer calls": item.volume,
        "larger share" if (item.mix or 0) > 0 else "smaller share": item.mix,
    }
    if item.tokens is None or item.price is None:
        effects[each] = item.per_call
    else:
        effects["more tokens a call" if item.tokens > 0 else "fewer tokens a call"] = item.tokens
        effects["dearer tokens" if item.price > 0 else "cheaper tokens"] = item.price
    least = abs(item.change or 0) / 10
    told = [(name, effect) for name, effect in effects.items() if effect and abs(effect) >= least]
    return ", ".join(f"{_change(metric, effect)} {name}" for name, effect in told)


def _value(item: Contribution) -> str:
    if item.state == "rest":
        return f"({counted(item.values, 'other')})"
    return "–" if item.value is None else clean(item.value)


def _amount(metric: Metric, amount: int | None) -> str:
    words: Mapping[Metric, Callable[[int | None], str]] = {"cost": about, "latency": duration, "errors": number}
    return words[metric](amount)


def _change(metric: Metric, amount: int | None) -> str:
    return signed(amount, lambda size: _amount(metric, size))


def _span(since: str, until: str) -> str:
    return f"{since[:10]} {since[11:16]} – {until[:10]} {until[11:16]} UTC"
