"""What keys there are: one walk over the settings structs, from which loader, environment, docs and CLI derive theirs.

Nothing is listed here by hand. A field is a *value* (a leaf), a *section* (a mapping with known keys), a *list* of
sections, or *names* (a mapping from names the operator chooses to sections: `providers`).
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import NODEFAULT, inspect

from gatehouse.config.fields import Section

NAME: Final = "<name>"
"""Stands in key paths for a name the operator chooses."""

Shape = Literal["value", "section", "list", "names"]

_SUFFIX_UNITS: Final = {"_bytes": "bytes", "_seconds": "seconds", "_days": "days", "tokens_per_second": "tokens/second"}


class Field(NamedTuple):
    """One key of a section, as declared."""

    name: str
    annotation: Any
    """What `msgspec.convert` is asked for."""
    shape: Shape
    section: type[Section] | None
    """Of the mapping behind the key; `None` for a value."""
    required: bool
    default: object
    """`NODEFAULT` where required, and for sections and names (their keys have their own)."""
    description: str
    unit: str
    """`bytes`, `seconds` …; empty where there is none or the description says it."""
    allowed: str
    """`a whole number from 0 to 65535`."""
    choices: tuple[str, ...]
    optional: bool
    """Whether `null` is a value."""
    text: bool
    """Whether the value is text (money included), so that what was written counts."""
    many: bool
    """Whether the value is a list of texts."""


def fields(section: type[Section]) -> dict[str, Field]:
    """The keys of a section, in the order of declaration."""
    return {info.name: _field(info) for info in msgspec.structs.fields(section)}


def walk(section: type[Section], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Field]]:
    """Every key below a section with its path, sections before their keys. Items of a list stand under `[]`."""
    for name, field in fields(section).items():
        path = (*prefix, name)
        yield path, field
        if field.section is not None:
            inner = {"section": (), "list": ("[]",), "names": (NAME,), "value": ()}[field.shape]
            yield from walk(field.section, (*path, *inner))


def dotted(path: tuple[str, ...]) -> str:
    """`("routes", "[]", "match")` → `routes[].match`."""
    return ".".join(path).replace(".[", "[")


def _field(info: msgspec.structs.FieldInfo) -> Field:
    shape, section = _shape(info.type)
    outer = inspect.type_info(info.type)
    inner, optional, extra = _unwrap(outer)
    description = (outer.extra_json_schema or {}).get("description", "") if isinstance(outer, inspect.Metadata) else ""
    many = isinstance(inner, inspect.VarTupleType) and section is None
    return Field(
        name=info.name,
        annotation=info.type,
        shape=shape,
        section=section,
        required=info.required,
        default=info.default if section is None or shape == "list" else NODEFAULT,
        description=description,
        unit=extra.get("unit") or _unit(info.name),
        allowed=_allowed(inner, extra) + (", or null" if optional else ""),
        choices=tuple(map(str, inner.values)) if isinstance(inner, inspect.LiteralType) else (),
        optional=optional,
        text=isinstance(inner, inspect.StrType),
        many=many,
    )


def _shape(annotation: Any) -> tuple[Shape, type[Section] | None]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "section", annotation
    if typing.get_origin(annotation) is typing.Annotated:
        return _shape(typing.get_args(annotation)[0])
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin in (tuple, dict):
        item = arguments[0 if origin is tuple else 1]
        if isinstance(item, type) and issubclass(item, Section):
            return ("list" if origin is tuple else "names"), item
    return "value", None


def _unwrap(kind: inspect.Type) -> tuple[inspect.Type, bool, dict[str, str]]:
    """The type inside metadata and `| None`, whether `None` is allowed, and the metadata's `extra` (innermost wins)."""
    optional = False
    extra: dict[str, str] = {}
    while True:
        if isinstance(kind, inspect.Metadata):
            extra.update(kind.extra or {})
            kind = kind.type
        elif isinstance(kind, inspect.UnionType) and any(isinstance(part, inspect.NoneType) for part in kind.types):
            optional = True
            (kind,) = (part for part in kind.types if not isinstance(part, inspect.NoneType))
        else:
            return kind, optional, extra


def _unit(name: str) -> str:
    return next((unit for suffix, unit in _SUFFIX_UNITS.items() if name.endswith(suffix)), "")


def _allowed(kind: inspect.Type, extra: dict[str, str]) -> str:
    if "says" in extra:
        return extra["says"]
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number" + _range(kind)
        case inspect.FloatType():
            return "a number" + _range(kind)
        case inspect.LiteralType():
            return "one of " + ", ".join(map(str, kind.values))
        case inspect.VarTupleType(item_type=inspect.StructType()):
            return "a list of mappings"
        case inspect.VarTupleType():
            return "a list of texts"
        case inspect.StructType() | inspect.DictType():
            return "a mapping"
        case _:
            return "text"


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    """Settings bound below by `ge` or `gt` and above, if at all, by `le`."""
    match kind.ge, kind.gt, kind.le:
        case (None, None, None):
            return ""
        case (low, None, None):
            return f", {low:.0f} or more"
        case (None, above, high):
            return f" above {above:.0f}" + ("" if high is None else f" and up to {high:.0f}")
        case (low, _, high):
            return f" from {low:.0f} to {high:.0f}"
