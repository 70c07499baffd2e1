"""`gatehouse debug last|ID`: one call from the store, with everything that is on record about it; two compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from gatehouse.cli import bundle
from gatehouse.cli.difference import compare, show
from gatehouse.cli.options import config_option, data_option, set_up, tenant_option
from gatehouse.cli.recorded import recorded
from gatehouse.cli.terminal import echo_json
from gatehouse.cli.words import UNKNOWN, counted, dollars, duration, number, size
from gatehouse.config.printable import clean
from gatehouse.store.views import Tokens, Trace

VERSION: Final = 1
"""Of the JSON form; documented in `docs/cli.md`."""


@click.command(name="debug")
@click.argument("call", metavar="last|ID", required=False)
@click.option("--diff", metavar="ID ID", nargs=2, help="Two calls side by side instead: figures, and captured bodies.")
@click.option("--bundle", metavar="PATH", type=click.Path(path_type=Path), help="Write the call to a new tar.gz file.")
@click.option("--with-bodies", is_flag=True, help="Put captured bodies into the bundle: they hold what users wrote.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@tenant_option
@data_option
@config_option
@click.pass_obj
def command(environ: Mapping[str, str], /, call: str | None, form: str, **given: Any) -> None:
    """Everything on record about the newest call, or the one with this ID.

    ID is the answer's `x-gatehouse-id` header, or a W3C trace id that the caller sent.
    """
    asked = Options(**given)
    if (call is None) == (asked.diff is None):
        raise click.UsageError("Name one call, or two with --diff.")
    if asked.bundle is not None and call is None:
        raise click.UsageError("--bundle takes one call.")
    if asked.with_bodies and asked.bundle is None:
        raise click.UsageError("--with-bodies belongs to --bundle.")
    setup = set_up(environ, asked.data, asked.config)
    if asked.diff is not None:
        left, right = (recorded(setup, asked.tenant, name) for name in asked.diff)
        show(compare(left, right, []), form)
        return
    found = recorded(setup, asked.tenant, call or "last", bodies=asked.with_bodies)
    if asked.bundle is not None:
        written = bundle.write(asked.bundle, found, setup.data.journal, bodies=asked.with_bodies)
        for note in written.notes:
            click.echo(f"Note: {clean(note)}", err=True)
        click.echo(f"{clean(str(asked.bundle))}: {counted(written.files, 'file')}, {size(written.size)}")
    elif form == "json":
        echo_json({"v": VERSION, "call": msgspec.to_builtins(found.trace)})
    else:
        for line in lines(found.trace):
            click.echo(clean(line))


class Options(NamedTuple):
    """What the command line asks for, beside the call and the form."""

    diff: tuple[str, str] | None
    bundle: Path | None
    with_bodies: bool
    tenant: str
    data: str | None
    config: Path | None


def lines(trace: Trace) -> Iterator[str]:
    """The call as text, one fact a line, most important first. What is unknown is left out or shown as a dash."""
    yield f"{trace.id}  {trace.outcome}  {trace.status or UNKNOWN}  {duration(trace.duration_us)}  {_cost(trace)}"
    for label, value in _facts(trace):
        if value:
            yield f"  {label:<10}{value}"
    for span in trace.spans:
        yield f"  span      {span.name}  {span.kind}  {span.status}  {span.started_at} … {span.ended_at}"
        for name, attribute in span.attributes.items():
            yield f"              {name} = {msgspec.json.encode(attribute).decode()}"


def _facts(trace: Trace) -> Iterator[tuple[str, str]]:
    yield "started", trace.started_at
    yield "asked", _joined(trace.method, trace.path, f"({trace.operation or 'unknown'}{', stream' * trace.stream})")
    yield "caller", _caller(trace)
    yield "model", _model(trace)
    yield "went to", _destination(trace)
    if trace.outcome != "ok":
        yield "ended", _joined(trace.code, trace.reason)
    yield "tokens", _tokens(trace.tokens, trace.usage_source, trace.usage_check)
    yield "", trace.usage_note or ""
    yield "cost", _price(trace)
    yield (
        "timing",
        f"connect {duration(trace.connect_us)}, first byte {duration(trace.first_byte_us)}, "
        f"first token {duration(trace.first_token_us)}, whole {duration(trace.duration_us)}",
    )
    yield "bytes", f"request {size(trace.request_bytes)}, answer {size(trace.response_bytes)}"
    yield "finish", ", ".join(trace.finish_reasons)
    yield "rewritten", ", ".join(dict.fromkeys([*trace.rewritten, *trace.answer_rewritten]))
    yield "unread", trace.unread or ""
    yield "provider", _joined(_named("request", trace.upstream_request_id), _named("response", trace.response_id))
    yield "sha256", _joined(_named("request", trace.request_sha256), _named("answer", trace.response_sha256))
    yield "trace", trace.trace_id
    yield "lineage", _lineage(trace)
    yield "tags", ", ".join(trace.tags)
    yield "loop", _loop(trace)
    yield "job", trace.job or ""
    yield "tools", ", ".join(f"{name.replace('_', ' ')} {number(count)}" for name, count in (trace.tools or {}).items())
    yield "turns", "" if trace.turns is None else number(trace.turns)
    for label, position in (("decision", trace.decision_record), ("outcome", trace.outcome_record)):
        yield label, f"journal lane {position.lane}, line {position.seq}, {position.time}" if position else ""


def _caller(trace: Trace) -> str:
    return _joined(
        f"tenant {trace.tenant}, project {trace.project}",
        _named("key", trace.key),
        _named("user", trace.user),
        _named("provider key hash", trace.provider_key_hash),
        _named("agent", trace.user_agent),
    )


def _model(trace: Trace) -> str:
    if trace.model_answered and trace.model_answered != trace.model:
        return f"{trace.model or UNKNOWN}, answered by {trace.model_answered}"
    return trace.model or ""


def _lineage(trace: Trace) -> str:
    return _joined(
        _named("group", trace.group),
        _named("thread", trace.thread),
        _named("run", trace.run),
        _named("parent", trace.parent),
        _named("sequence", None if trace.sequence is None else str(trace.sequence)),
    )


def _loop(trace: Trace) -> str:
    if trace.steps == 1:
        return ""
    return _joined(f"step {trace.step} of {trace.steps} of loop {trace.loop}", _named("after", trace.parent_call))


def _destination(trace: Trace) -> str:
    if trace.provider is None:
        return ""
    again = ", sent again on a fresh connection" if trace.replayed else ""
    upstream = f", answered {trace.upstream_status}" if trace.upstream_status is not None else ""
    return f"{trace.provider} at {trace.origin or UNKNOWN} as {trace.path_sent or UNKNOWN}{upstream}{again}"


def _tokens(tokens: Tokens | None, source: str | None, check: str | None) -> str:
    if tokens is None:
        return ""
    parts = [f"{name.replace('_', ' ')} {number(count)}" for name, count in _parts(tokens)]
    totals = f"{number(tokens.input_total)} in, {number(tokens.output_total)} out"
    return f"{totals} ({', '.join(parts)}); {source or 'unknown source'}, check {check or UNKNOWN}"


def _parts(tokens: Tokens) -> Iterator[tuple[str, int]]:
    for name in Tokens.__struct_fields__:
        count = getattr(tokens, name)
        if not name.endswith("_total") and (count or name in ("input", "output")):
            yield name, count


def _cost(trace: Trace) -> str:
    return dollars(trace.cost_nano_usd) if trace.price != "not_applicable" else ""


def _price(trace: Trace) -> str:
    if trace.price in (None, "not_applicable"):
        return ""
    if trace.price == "unknown":
        return "unknown: no price is known for this model (prices.models)"
    return _joined(dollars(trace.cost_nano_usd), _named("price", trace.price_id), _named("table", trace.price_version))


def _named(label: str, value: str | None) -> str:
    return f"{label} {value}" if value else ""


def _joined(*parts: str | None) -> str:
    return "  ".join(part for part in parts if part)
