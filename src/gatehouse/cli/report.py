"""`gatehouse report`: sums over the calls on record, from the store, whether the gateway runs or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from gatehouse.cli.listing import console
from gatehouse.cli.moments import Moment, MomentType, at
from gatehouse.cli.options import config_option, data_option, set_up, tenant_option
from gatehouse.cli.recorded import ask
from gatehouse.cli.report_names import naming
from gatehouse.cli.terminal import echo_csv, echo_json
from gatehouse.cli.words import counted, dollars, duration, number
from gatehouse.config.printable import clean
from gatehouse.store.reading import Reader
from gatehouse.store.report import BY
from gatehouse.store.statements import GROUPS
from gatehouse.store.views import Report, ReportRow

VERSION: Final = 1
"""Of the JSON form; documented in `docs/cli.md`."""


@click.command(name="report")
@click.option("--since", type=MomentType(), default="24h", show_default=True, help="A span, a date (UTC), or `all`.")
@click.option("--until", type=MomentType(), help="The same; now, if not given.")
@click.option(
    "--by",
    default=",".join(BY),
    show_default=True,
    callback=lambda _context, _option, value: _names(value),
    help=f"What to tell calls apart by, with commas between: {', '.join(GROUPS)}.",
)
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@tenant_option
@data_option
@config_option
@click.pass_obj
def command(environ: Mapping[str, str], /, form: str, data: str | None, config: Path | None, **asked: Any) -> None:
    """Calls, errors, tokens, latency and cost, by provider and model asked or by something else."""
    setup, tenant = set_up(environ, data, config), asked.pop("tenant")
    by: list[str] = asked["by"]
    since, until = _window(asked["since"], asked["until"])

    async def read(reader: Reader) -> Report:
        return await reader.report(since, until, by)

    report = ask(setup, tenant, read)
    if form == "json":
        said = msgspec.to_builtins(report)
        echo_json({"v": VERSION, **said, "rows": [{**row.pop("group"), **row} for row in said["rows"]]})
    elif form == "csv":
        echo_csv(ReportRow, report.rows, by)
    else:
        shown = console()
        shown.print(Text(summary(report)))
        if report.rows:
            called = naming(setup, tenant, ((each, row.group[each]) for row in report.rows for each in by))
            shown.print(table(report.rows, by, called))


def _names(value: str) -> list[str]:
    names = value.split(",")
    if len(set(names)) < len(names) or not set(names) <= set(GROUPS):
        raise click.BadParameter(f"{value!r} are not different ones of {', '.join(GROUPS)}.")
    return names


def _window(since: Moment, until: Moment) -> tuple[datetime | None, datetime | None]:
    now = datetime.now(UTC)
    start, end = at(since, now), at(until, now)
    if start is not None and end is not None and start >= end:
        raise click.BadParameter("the window ends before it begins", param_hint="'--since'")
    return start, end


def summary(report: Report) -> str:
    """The sums, in a few lines."""
    since = report.since.strftime("since %Y-%m-%d %H:%M UTC") if report.since else "on record"
    if report.until:
        since += report.until.strftime(" until %Y-%m-%d %H:%M UTC")
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


def table(rows: list[ReportRow], by: Sequence[str], called: Callable[[str, str | None], str | None]) -> Table:
    """A line per row. `called`: as `naming` has it."""
    found = Table(box=box.SIMPLE, pad_edge=False)
    for heading in by:
        found.add_column(heading, overflow="fold")
    for heading in ("calls", "errors", "tokens in", "tokens out", "cost", "mean", "p95"):
        found.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cost = dollars(row.cost_nano_usd) if row.unknown_price < row.calls else ""
        found.add_row(
            *(Text(clean(called(name, row.group[name]) or "–")) for name in by),
            number(row.calls),
            number(row.errors),
            number(row.input_tokens),
            number(row.output_tokens),
            f"{cost} + unknown".removeprefix(" + ") if row.unknown_price else cost,
            duration(row.avg_us),
            duration(row.p95_us),
        )
    return found
