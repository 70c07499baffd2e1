"""Environment variables that override the file: `GATEHOUSE_<SECTION>__<KEY>`, nested by `__`.

In a provider's name `_` stands for `-`. Text is taken as it is; everything else is read as YAML; a list of texts may be
written with commas. A `GATEHOUSE_` name that means nothing is an error: a misspelt setting must not pass silently.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Final

from gatehouse.config import schema, yamltree
from gatehouse.config.fields import Section
from gatehouse.config.settings import Settings
from gatehouse.config.yamltree import Items, Problem, Scalar, Tree, Unreadable

PREFIX: Final = "GATEHOUSE_"
RESERVED: Final = frozenset({"GATEHOUSE_DATA", "GATEHOUSE_CONFIG"})
"""Names with a meaning of their own: the data directory and the configuration file."""
OWNER: Final = ("GATEHOUSE_OWNER_EMAIL", "GATEHOUSE_OWNER_PASSWORD")
"""Who is to be the first owner: `serve` makes it, and no other process gets to see them."""


def variable(path: tuple[str, ...]) -> str | None:
    """The name that sets a key; `None` for keys of list items, which are set with their list as a whole."""
    if "[]" in path:
        return None
    return PREFIX + "__".join(part.replace("-", "_").upper() for part in path)


def overlay(tree: yamltree.Mapping, environ: Mapping[str, str]) -> list[Problem]:
    """Put what the environment sets into the tree, over what the file says."""
    problems: list[Problem] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in RESERVED or name in OWNER:
            continue
        found = _find(name)
        if isinstance(found, Problem):
            problems.append(found)
            continue
        path, field = found
        try:
            value, wrong = _read(environ[name], field, name)
        except Unreadable as error:
            problems.append(Problem(name, schema.dotted(path), error.problem.what))
            continue
        problems.extend(problem._replace(key=schema.dotted(path)) for problem in wrong)
        put(tree, path, value)
    return problems


def put(tree: yamltree.Mapping, path: tuple[str, ...], value: Tree) -> None:
    """Set one key, making the mappings on the way. What stands in the way and is no mapping stays, and is reported."""
    for part in path[:-1]:
        inner = tree.entries.get(part)
        if inner is None or (isinstance(inner, Scalar) and inner.value is None):
            inner = tree.entries[part] = yamltree.Mapping({}, value.where)
        if not isinstance(inner, yamltree.Mapping):
            return
        tree = inner
    tree.entries[path[-1]] = value


def _find(name: str) -> tuple[tuple[str, ...], schema.Field] | Problem:
    section: type[Section] = Settings
    path: tuple[str, ...] = ()
    parts = name.removeprefix(PREFIX).split("__")
    while parts:
        field = schema.fields(section).get(parts.pop(0).lower())
        if field is None:
            break
        path = (*path, field.name)
        if field.shape == "names" and parts:
            path = (*path, parts.pop(0).lower().replace("_", "-"))
        if field.shape in ("value", "list"):
            if parts:
                break
            return path, field
        if field.section is not None:
            section = field.section
        if not parts:
            inner = (schema.NAME,) if path[-1] == field.name and field.shape == "names" else ()
            example = variable((*path, *inner, next(iter(schema.fields(section)))))
            return Problem(name, schema.dotted(path), f"is a section; name a key in it, such as {example}")
    return Problem(name, "", "is no setting; " + _suggestion(name))


def _suggestion(name: str) -> str:
    chosen = name.split("__")[1] if name.count("__") >= 2 else schema.NAME
    known = [
        (variable(path) or "").replace(schema.NAME.upper(), chosen)
        for path, field in schema.walk(Settings)
        if field.shape in ("value", "list")
    ]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f"did you mean {close[0]}?" if close else "names are GATEHOUSE_<SECTION>__<KEY>, see docs/configuration.md"


def _read(text: str, field: schema.Field, name: str) -> tuple[Tree, Iterable[Problem]]:
    if field.text:
        unset = field.optional and text in ("", "~", "null")
        return Scalar(None if unset else text, text, name), ()
    if field.many and not text.lstrip().startswith("["):
        items = (item.strip() for item in text.split(","))
        return Items(tuple(Scalar(item, item, name) for item in items if item), name), ()
    tree, problems = yamltree.parse(text, lambda line: name)
    return tree or Scalar(None, text, name), problems
