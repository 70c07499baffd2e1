"""Two calls side by side: their figures, what was asked, what was answered; for `replay` and `debug --diff`.

Rules: `None` is unknown, never zero; the JSON form is documented in `docs/cli.md`, field by field; whatever is compared
is bounded, since comparing texts costs more than reading them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, Final, Literal

import click
import msgspec

from gatehouse.cli.terminal import echo_json
from gatehouse.cli.words import UNKNOWN, dollars, duration, number, size
from gatehouse.config.printable import clean
from gatehouse.dialects.said import Said, ToolCall, said
from gatehouse.http.content import Decoder
from gatehouse.store.views import Body, Tokens, Trace

VERSION: Final = 1
"""Of the JSON form."""

MAX_LINES: Final = 2_000
"""Lines of a text that are compared."""
_LINE: Final = 4_000
"""Characters of a line."""
_MAX_DIFF: Final = 400
"""Lines of a difference that are shown."""
_DECODED: Final = 32 * 1024 * 1024
"""Bytes of a body that are decoded for being compared."""

Unit = Literal["", "us", "nano_usd", "tokens", "bytes"]


class Figure(msgspec.Struct, frozen=True):
    """One fact about both calls."""

    name: str
    unit: Unit
    left: Any
    right: Any
    same: bool
    change: int | None
    """`right` − `left`, where both are numbers with a unit."""


class TextDiff(msgspec.Struct, frozen=True):
    """Two texts. `lines`: a unified diff, empty where they are the same."""

    same: bool
    lines: list[str]
    left_out: int
    """Lines of the difference that are not in `lines`."""


class ToolDiff(msgspec.Struct, frozen=True):
    """The tool calls at one position; `None` where that answer has no more."""

    left: ToolCall | None
    right: ToolCall | None
    same: bool


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`left` and `right`: the calls' ids. Texts are `None` where they are not there to compare."""

    left: str
    right: str
    same_shape: bool
    """Status and finish reasons are the same, and so, where both answers are there, are the tools called by name."""
    figures: list[Figure]
    request: TextDiff | None
    answer: TextDiff | None
    reasoning: TextDiff | None
    tool_calls: list[ToolDiff]
    notes: list[str]


class Side(msgspec.Struct, frozen=True):
    """A call, and its bodies as far as they were captured."""

    trace: Trace
    request: Body | None = None
    response: Body | None = None


def compare(left: Side, right: Side, notes: list[str]) -> Difference:
    """What differs between two calls. `notes` go before what is found."""
    notes = [*notes, *_missing(left), *_missing(right)]
    figures = list(_figures(left.trace, right.trace))
    request = _texts(_document(left, "request", notes), _document(right, "request", notes))
    ours, theirs = _said(left), _said(right)
    answer = _texts(
        ours.text if ours is not None else _document(left, "response", notes),
        theirs.text if theirs is not None else _document(right, "response", notes),
    )
    reasoning, tools = None, list[ToolDiff]()
    if ours is not None and theirs is not None:
        reasoning = _texts(ours.reasoning, theirs.reasoning)
        tools = list(_tools(ours.tool_calls, theirs.tool_calls))
    alike = all(figure.same for figure in figures if figure.name in ("status", "finish_reasons"))
    both = left.response is not None and right.response is not None
    one_sided = both and (ours is None) != (theirs is None)
    named = all(tool.left and tool.right and tool.left.name == tool.right.name for tool in tools)
    return Difference(
        left=left.trace.id,
        right=right.trace.id,
        same_shape=alike and named and not one_sided,
        figures=figures,
        request=request,
        answer=answer,
        reasoning=reasoning,
        tool_calls=tools,
        notes=notes,
    )


def show(found: Difference, form: str) -> None:
    """Print it: `text`, or `json` with `VERSION`."""
    if form == "json":
        echo_json({"v": VERSION, **msgspec.to_builtins(found)})
        return
    for line in lines(found):
        click.echo(clean(line))


def lines(found: Difference) -> Iterator[str]:
    """As text: the figures that are known, then the diffs."""
    yield f"{'':<16}{found.left:>38}  {found.right:>38}"
    for figure in found.figures:
        if figure.left in (None, []) and figure.right in (None, []):
            continue
        left, right = (_shown(value, figure.unit) for value in (figure.left, figure.right))
        change = "" if not figure.change else f"  {'+' if figure.change > 0 else '−'}{_amount(figure)}"
        label = figure.name.removesuffix("_nano_usd").removesuffix("_us").replace("_", " ")
        yield f"{label:<16}{left:>38}  {right:>38}{change}"
    for title, diff in (("request", found.request), ("reasoning", found.reasoning), ("answer", found.answer)):
        if diff is not None and not (title == "reasoning" and diff.same):
            yield f"{title}: {'the same' if diff.same else 'differs'}"
            yield from (f"  {line}" for line in diff.lines)
            if diff.left_out:
                yield f"  … {number(diff.left_out)} more lines"
    for position, tool in enumerate(found.tool_calls, 1):
        yield f"tool call {position}: {'the same' if tool.same else 'differs'}"
        for sign, call in ((" " if tool.same else "-", tool.left), ("+", tool.right)):
            if call is not None and not (tool.same and sign == "+"):
                yield f"  {sign}{call.name} {call.arguments[:_LINE]}"
    yield f"shape: {'the same' if found.same_shape else 'differs'}"
    yield from (f"note: {note}" for note in found.notes)


# -- figures


def _figures(left: Trace, right: Trace) -> Iterator[Figure]:
    for name, unit in _FACTS.items():
        yield _figure(name, unit, getattr(left, name), getattr(right, name))
    for name in Tokens.__struct_fields__:
        ours, theirs = (getattr(each.tokens, name) if each.tokens else None for each in (left, right))
        if ours or theirs or name.endswith("_total"):
            yield _figure(f"tokens_{name}", "tokens", ours, theirs)


_FACTS: Final[dict[str, Unit]] = {
    "outcome": "", "status": "", "code": "", "reason": "", "route": "", "provider": "", "model": "",
    "model_answered": "", "stream": "", "max_output": "", "temperature": "", "top_p": "", "choices": "",
    "finish_reasons": "", "cost_nano_usd": "nano_usd", "first_byte_us": "us", "first_token_us": "us",
    "duration_us": "us", "request_bytes": "bytes", "response_bytes": "bytes", "usage_source": "", "price_id": "",
}  # fmt: skip


def _figure(name: str, unit: Unit, left: Any, right: Any) -> Figure:
    change = right - left if unit and left is not None and right is not None else None
    return Figure(name, unit, left, right, left == right, change)


def _shown(value: Any, unit: Unit) -> str:
    if value is None or value == []:
        return UNKNOWN
    match unit:
        case "us":
            return duration(value)
        case "nano_usd":
            return dollars(value)
        case "bytes":
            return size(value)
        case "tokens":
            return number(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _amount(figure: Figure) -> str:
    return _shown(abs(figure.change or 0), figure.unit)


# -- bodies


def decoded(body: Body) -> tuple[bytes, str | None]:
    """A captured body without its content coding, and why it cannot be read to its end; `None`: it can."""
    decoder = Decoder(body.content_encoding or "")
    kept = bytearray()
    for piece in decoder.feed(body.data):
        kept += piece
        if len(kept) > _DECODED:
            return bytes(kept), f"it is more than {size(_DECODED)} decoded"
    return bytes(kept), decoder.unreadable


def complete(body: Body) -> bool:
    """Whether the whole body was captured."""
    return not body.truncated and len(body.data) == body.size


def _said(side: Side) -> Said | None:
    body, route = side.response, side.trace.route
    if body is None or route is None:
        return None
    return said(side.trace.dialect, route.rpartition("/")[2], decoded(body)[0], body.content_type)


def _missing(side: Side) -> Iterator[str]:
    """What of the bodies is not there to be compared."""
    for which, body in (("request", side.request), ("answer", side.response)):
        if body is None:
            continue
        why = decoded(body)[1]
        if body.truncated and len(body.data) == body.size:
            yield f"the {which} of {side.trace.id} broke off"
        elif not complete(body):
            yield f"of the {which} of {side.trace.id} only {size(len(body.data))} of {size(body.size)} were captured"
        elif why is not None:
            yield f"the {which} of {side.trace.id} is not readable to its end: {why}"


def _document(side: Side, which: Literal["request", "response"], notes: list[str]) -> str | None:
    """A body as text: JSON indented; `None`, and a note, where it is none."""
    body: Body | None = getattr(side, which)
    if body is None:
        return None
    data, _ = decoded(body)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        if b"\0" in data[:4096]:
            notes.append(f"the {which} of {side.trace.id} is no text")
            return None
        text = data.decode(errors="replace")
    try:
        return msgspec.json.format(data, indent=2).decode()
    except (msgspec.DecodeError, ValueError, RecursionError):
        return text


def _texts(left: str | None, right: str | None) -> TextDiff | None:
    if left is None or right is None:
        return None
    if left == right:
        return TextDiff(True, [], 0)
    ours, theirs = _cut(left), _cut(right)
    found = list(difflib.unified_diff(ours, theirs, "left", "right", n=2, lineterm=""))
    return TextDiff(False, found[:_MAX_DIFF], max(0, len(found) - _MAX_DIFF))


def _cut(text: str) -> list[str]:
    kept = text.splitlines()
    more = [f"… {number(len(kept) - MAX_LINES)} more lines"] if len(kept) > MAX_LINES else []
    return [line if len(line) <= _LINE else f"{line[:_LINE]}…" for line in kept[:MAX_LINES]] + more


def _tools(left: tuple[ToolCall, ...], right: tuple[ToolCall, ...]) -> Iterator[ToolDiff]:
    for position in range(max(len(left), len(right))):
        ours = left[position] if position < len(left) else None
        theirs = right[position] if position < len(right) else None
        yield ToolDiff(ours, theirs, ours == theirs)
