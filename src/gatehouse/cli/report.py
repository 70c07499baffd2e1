"""`gatehouse report`: sums over the calls on record, from the store, whether the gateway runs or not."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatehouse.cli.options import config_option, data_option, set_up
from gatehouse.cli.recorded import ask
from gatehouse.cli.terminal import echo_json
from gatehouse.cli.words import counted, dollars, duration, number
from gatehouse.config.printable import clean
from gatehouse.store.reading import Reader
from gatehouse.store.views import Report, ReportRow

VERSION: Final = 1
"""Of the JSON form; documented in `docs/cli.md`."""

_SPAN: Final = re.compile(r"([1-9][0-9]{0,5})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PIPED_WIDTH: Final = 160
"""Columns where nobody looks: what reads the table should not meet words cut short."""


class Since(click.ParamType["datetime | timedelta | None"]):
    """`24h`, `7d`, `2026-11-20`, an RFC 3339 time, or `all`. Without a zone: UTC."""

    name = "since"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | timedelta | None:
        text = str(value)
        if text == "all":
            return None
        span = _SPAN.fullmatch(text)
        if span is not None:
            return timedelta(**{_UNITS[span[2]]: int(span[1])})
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is neither a span (30m, 24h, 7d, 4w), a date (2026-11-20), nor `all`.", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command(name="report")
@click.option("--since", type=Since(), default="24h", show_default=True, help="A span, a date (UTC), or `all`.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@data_option
@config_option
@click.pass_obj
def command(
    environ: Mapping[str, str],
    since: datetime | timedelta | None,
    form: str,
    data: str | None,
    config: Path | None,
) -> None:
    """Calls, errors, tokens, latency and cost, by provider and model asked."""
    setup = set_up(environ, data, config)
    start = datetime.now(UTC) - since if isinstance(since, timedelta) else since

    async def read(reader: Reader) -> Report:
        return await reader.report(since=start)

    report = ask(setup, read)
    if form == "json":
        echo_json({"v": VERSION, **msgspec.to_builtins(report)})
    else:
        console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)
        console.print(Text(summary(report)))
        if report.rows:
            console.print(table(report.rows))


def summary(report: Report) -> str:
    """The sums, in a few lines."""
    since = report.since.strftime("since %Y-%m-%d %H:%M UTC") if report.since else "on record"
    if not report.calls:
        return f"No calls {since}." + _uncounted(report)
    outcomes = ", ".join(f"{count:,} {clean(name)}" for name, count in report.outcomes.items())
    cost = dollars(report.cost_nano_usd)
    if report.unknown_price:
        cost += f" and {counted(report.unknown_price, 'call')} without a known price"
    tokens = f"{number(report.tokens.input_total)} in, {number(report.tokens.output_total)} out"
    if report.estimated:
        tokens += f" (estimated for {counted(report.estimated, 'call')})"
    lines = [
        f"{counted(report.calls, 'call')} {since}, {counted(report.errors, 'error')} ({outcomes})",
        f"tokens   {tokens}",
        f"cost     {cost}",
        f"latency  p50 {duration(report.p50_us)}, p95 {duration(report.p95_us)}, mean {duration(report.avg_us)}",
    ]
    return "\n".join(lines) + _uncounted(report)


def _uncounted(report: Report) -> str:
    if not report.refused_uncounted:
        return ""
    return f"\n{report.refused_uncounted:,} more were refused too fast to be listed one by one"


def table(rows: list[ReportRow]) -> Table:
    """A line per provider and model."""
    found = Table(box=box.SIMPLE, pad_edge=False)
    for heading in ("provider", "model"):
        found.add_column(heading, overflow="fold")
    for heading in ("calls", "errors", "tokens in", "tokens out", "cost", "mean", "p95"):
        found.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cost = dollars(row.cost_nano_usd) if row.unknown_price < row.calls else ""
        found.add_row(
            Text(clean(row.provider or "–")),
            Text(clean(row.model or "–")),
            number(row.calls),
            number(row.errors),
            number(row.input_tokens),
            number(row.output_tokens),
            f"{cost} + unknown".removeprefix(" + ") if row.unknown_price else cost,
            duration(row.avg_us),
            duration(row.p95_us),
        )
    return found
