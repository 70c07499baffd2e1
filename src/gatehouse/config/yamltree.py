"""Strict YAML: text to a tree of plain values, each knowing where it was written.

What is read is the core of YAML 1.2: `no` and `on` are text, `1:30` is text, `010` is ten. Refused, always with the
line: repeated keys, aliases (they can expand without bound), tags, several documents, more than `MAX_BYTES` or
`MAX_DEPTH`. Nothing here knows what a setting is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import yaml

from gatehouse.config.printable import clean

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32

Plain = None | bool | int | float | str


class Problem(NamedTuple):
    """One thing that is wrong. As text: `file:line: key.path: what is wrong, what is allowed`."""

    where: str
    key: str
    what: str

    def __str__(self) -> str:
        return ": ".join(clean(part) for part in self if part)


class Scalar(NamedTuple):
    """A leaf."""

    value: Plain
    written: str
    """The characters in the file, unquoted."""
    where: str


class Items(NamedTuple):
    """A list."""

    items: tuple[Tree, ...]
    where: str


class Mapping(NamedTuple):
    """A mapping; `entries` may be added to while sources are merged."""

    entries: dict[str, Tree]
    where: str


Tree = Scalar | Items | Mapping


class Unreadable(Exception):
    """The text is no YAML that is accepted here."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _Refused(Exception):
    """Valid YAML that is not accepted here."""

    def __init__(self, what: str, mark: Any) -> None:
        super().__init__(what)
        self.what = what
        self.line: int = mark.line + 1


class _Loader(yaml.SafeLoader):
    """Composes nodes only: nothing is constructed by tag."""

    yaml_implicit_resolvers = {}

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _Refused(f"`*{event.anchor}` refers to another place; write the value out here", event.start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Refused(f"nested more than {MAX_DEPTH} levels deep", event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), None)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)

_HALF: Final = re.compile("[\ud800-\udfff]")
_TAGS: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "map", "seq"))


def parse(text: str, locate: Callable[[int], str], *, limit: int = MAX_BYTES) -> tuple[Tree | None, list[Problem]]:
    """Read one document; `locate` turns a line number, counted from 1, into what problems and values carry. `limit`:
    the largest text that is read, in characters.

    `None` for a document without content. Raises `Unreadable` where nothing can be read on.
    """
    if len(text) > limit:
        raise Unreadable(Problem(locate(1), "", f"larger than {limit} bytes"))
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except _Refused as error:
        raise Unreadable(Problem(locate(error.line), "", error.what)) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Unreadable(Problem(locate(line), "", _worded(error))) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Unreadable(Problem(locate(line), "", "holds a control character that YAML forbids")) from error
    finally:
        if loader is not None:
            loader.dispose()
    if node is None:
        return None, []
    problems: list[Problem] = []
    return _tree(node, "", locate, problems), problems


def _worded(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "is no valid YAML"
    if problem == "but found another document":
        return "only one document (no second `---`) is allowed"
    return f"{problem} ({error.context})" if error.context else problem


def _tree(node: yaml.Node, path: str, locate: Callable[[int], str], problems: list[Problem]) -> Tree:
    where = locate(node.start_mark.line + 1)
    if node.tag not in _TAGS:
        problems.append(Problem(where, path, "tags (`!…`) are not read here; write a plain value"))
        return Scalar(None, "", where)
    if isinstance(node, yaml.MappingNode):
        return Mapping(_entries(node, path, locate, problems), where)
    if isinstance(node, yaml.SequenceNode):
        return Items(tuple(_tree(child, f"{path}[]", locate, problems) for child in node.value), where)
    if not isinstance(node, yaml.ScalarNode):
        raise TypeError(f"unknown YAML node {node!r}")
    try:
        node.value = _whole(node.value)
    except UnicodeDecodeError:
        problems.append(
            Problem(where, path, "holds half a character: an escape such as `\\ud83e` without its other half")
        )
        return Scalar(None, "", where)
    try:
        return Scalar(_plain(node), node.value, where)
    except ValueError:
        problems.append(Problem(where, path, "is no number that can be read"))
        return Scalar(None, "", where)


def _entries(
    node: yaml.MappingNode, path: str, locate: Callable[[int], str], problems: list[Problem]
) -> dict[str, Tree]:
    entries: dict[str, Tree] = {}
    first: dict[str, str] = {}
    for key_node, value_node in node.value:
        where = locate(key_node.start_mark.line + 1)
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(Problem(where, path, "a key must be text, not a list or a mapping"))
            continue
        key = key_node.value
        inner = f"{path}.{key}" if path else key
        if key in entries:
            problems.append(Problem(where, inner, f"is written twice; the first is at {first[key]}"))
            continue
        first[key] = where
        value = _tree(value_node, inner, locate, problems)
        entries[key] = value._replace(where=where)
    return entries


def _whole(text: str) -> str:
    """With the halves put together of which JSON makes characters beyond U+FFFF (JSON is YAML, too). Raises
    `UnicodeDecodeError` for a half alone, which nothing could be written from."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le") if _HALF.search(text) else text


def _plain(node: yaml.ScalarNode) -> Plain:
    """The value of a scalar; `ValueError` where a tag promises what the text is not, or a number is endless."""
    text: str = node.value
    match node.tag.rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            base = {"0o": 8, "0x": 16}.get(text[:2], 10)
            value = int(text, base)
            if not -(2**63) <= value < 2**63:
                raise ValueError(text)
            return value
        case "float":
            return float(text)
        case _:
            return text
