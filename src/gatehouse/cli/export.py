"""`gatehouse export`: what there is, as a file that `apply` takes. Pure apart from the command.

Rules: no secret and no key's text is in it: a credential's `secret` names a variable to be filled. What is as the
defaults have it is left out, but for scopes and limits of keys, which a new key would get otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from gatehouse.cli import caps, declared
from gatehouse.cli.applying import state
from gatehouse.cli.client import Where, api_options
from gatehouse.cli.limit import IDENTITY
from gatehouse.cli.steps import Item, State
from gatehouse.config.printable import clean
from gatehouse.model.limits import DEFAULT_SHARE
from gatehouse.store.directory import ids

_SHORT: Final = 0xFFFF
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.@/*-]*|[0-9][0-9.]*[A-Za-z]*/[a-z]+|[0-9][0-9.]*usd", re.ASCII)
_WORDS: Final = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))


@click.command(name="export")
@api_options
def command(where: Where, /) -> None:
    """Print projects, credentials, keys and limits as a file for `apply`, without secrets."""
    found = where.run(state)
    for line in yaml(exported(found)):
        click.echo(line)
    for each in unnamed(found):
        click.echo(f"left out: {clean(each)}", err=True)


def exported(found: State) -> dict[str, Any]:
    """The document."""
    names = {each["id"]: each["name"] for each in (*found.projects, *found.credentials)}
    limits: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in sorted(found.limits, key=lambda each: each["id"]):
        limits.setdefault((each["scope"], each["scope_id"]), []).append(_cap(each))
    return {
        "version": 1,
        "projects": [_project(each, names, found, limits) for each in _sorted(found.projects)],
        "credentials": list(_credentials(found, names)),
        "keys": [_key(each, names, found, limits) for each in _sorted(_named(found))],
        "limits": [
            {"on": _on(scope, name, names, found), **cap}
            for (scope, name), caps_on in limits.items()
            if scope in declared.TOP and _on(scope, name, names, found)
            for cap in caps_on
        ],
    }


def unnamed(found: State) -> Iterator[str]:
    """What has no name of its own that a file could have it by."""
    kept = {each["id"] for each in _named(found)}
    names = {each["id"]: each["name"] for each in found.projects}
    for each in found.keys:
        if each["id"] not in kept:
            why = "has no name" if each["name"] is None else f"is called {each['name']} like another one"
            yield f"key {each['id']} of project {names.get(each['project'], each['project'])} {why}"


def yaml(value: Any, indent: str = "") -> Iterator[str]:
    """Mappings, lists and plain values as YAML, which `config.yamltree` reads as the same."""
    for name, inner in value.items():
        if isinstance(inner, list) and inner and isinstance(inner[0], dict):
            yield f"{indent}{name}:"
            for each in inner:
                lines = list(yaml(each, f"{indent}    "))
                yield f"{indent}  - {lines[0].lstrip()}"
                yield from lines[1:]
        elif isinstance(inner, dict):
            yield f"{indent}{name}: {{{', '.join(f'{key}: {_scalar(each)}' for key, each in inner.items())}}}"
        elif isinstance(inner, list):
            yield f"{indent}{name}: [{', '.join(map(_scalar, inner))}]"
        else:
            yield f"{indent}{name}: {_scalar(inner)}"


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    plain = _PLAIN.fullmatch(value) is not None and value.lower() not in _WORDS
    return value if plain else f'"{"".join(map(_quoted, value))}"'


def _quoted(character: str) -> str:
    """In double quotes. What can be read stays so; JSON's escapes would be two halves beyond U+FFFF."""
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= _SHORT else f"\\U{code:08x}"


def _project(
    each: Item, names: Mapping[str, str], found: State, limits: Mapping[tuple[str, str], Any]
) -> dict[str, Any]:
    said: dict[str, Any] = {"name": each["name"]}
    said |= {name: each[name] for name in ("type", "environment", "team") if each[name]}
    said |= {name: value for name, value in (("own_keys", each["own_keys"]),) if value is not None}
    said |= {"disabled": True} if each["disabled"] else {}
    weights = {credential["id"]: credential["weight"] for credential in found.credentials}
    if each["bindings"]:
        said["providers"] = [
            {"provider": bound["provider"], "credential": names[bound["credential"]]}
            | ({} if bound["weight"] == weights[bound["credential"]] else {"weight": bound["weight"]})
            for bound in each["bindings"]
        ]
    if ("project", each["id"]) in limits:
        said["limits"] = limits["project", each["id"]]
    return said


def _credentials(found: State, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    taken: set[str] = set()
    for each in _sorted(found.credentials):
        said: dict[str, Any] = {name: each[name] for name in ("name", "provider")}
        said |= {"kind": each["kind"]} if each["kind"] != "api_key" else {}
        said |= {"resource": each["settings"]["resource"]} if "resource" in each["settings"] else {}
        said["secret"] = {"env": _variable(each["name"], taken)}
        said |= {"weight": each["weight"]} if each["weight"] != 1 else {}
        said |= {"test": True} if each["test"] else {}
        said |= {"exclusive": names[each["exclusive"]]} if each["exclusive"] in names else {}
        said |= {name: each[name] for name in ("rotate_every_days", "rotate_hook") if each[name] is not None}
        said |= {"retiring": True} if each["retiring_at"] else {}
        said |= {"disabled": True} if each["disabled"] else {}
        yield said


def _variable(name: str, taken: set[str]) -> str:
    """A variable for a credential's secret, of its own."""
    wanted = f"CREDENTIAL_{re.sub('[^A-Z0-9]+', '_', name.upper())}".rstrip("_")
    found, number = wanted, 1
    while found in taken:
        number += 1
        found = f"{wanted}_{number}"
    taken.add(found)
    return found


def _key(each: Item, names: Mapping[str, str], found: State, limits: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    said: dict[str, Any] = {"name": each["name"], "project": names[each["project"]]}
    said |= {"environment": each["environment"]} if each["environment"] != "live" else {}
    said |= {"owner": each["owner"]} if each["owner"] else {}
    if each["user"] is None or each["user"] in found.users:
        # A key made without a word on it would be the caller's own. Of users who were erased nothing can be said.
        said["user"] = found.users[each["user"]] if each["user"] else None
    said["scopes"] = each["scopes"]
    said |= {name: each[name] for name in ("models", "providers", "addresses") if each[name]}
    said |= {name: each[name] for name in ("role", "expires_at") if each[name] is not None}
    said |= {"disabled": True} if each["disabled_at"] else {}
    said["limits"] = limits.get(("key", each["counts_as"]), [])
    return said


def _cap(limit: Item) -> dict[str, Any]:
    measure = limit["measure"]
    cap = limit["cap"] if measure == "concurrency" else caps.written(measure, limit["window"], limit["cap"])
    said: dict[str, Any] = {measure: cap}
    said |= {} if limit["hard"] else {"hard": False}
    defaults = {"at_cap": "reject", "on_unknown": "bound", "when_down": None}
    said |= {name: limit[name] for name, usual in defaults.items() if limit[name] != usual}
    said |= {} if limit["assumed"] is None else {"assumed": caps.written_amount("spend", limit["assumed"])}
    said |= {} if limit["max_reserved_share"] == DEFAULT_SHARE else {"share": limit["max_reserved_share"]}
    return said


def _on(scope: str, name: str, names: Mapping[str, str], found: State) -> str:
    """As the file says it; empty for what is gone."""
    if scope == "tenant":
        return scope
    if scope == "user" and name not in found.users and not ids.is_id("user", name):
        return f"{IDENTITY} {name}"
    label = {"user": found.users.get(name), "model": name, "credential": names.get(name)}[scope]
    return f"{scope} {label}" if label else ""


def _named(found: State) -> list[Item]:
    """Keys that a name tells from the others of their project."""
    counts: dict[tuple[str, str], int] = {}
    for each in found.keys:
        counts[each["project"], each["name"]] = counts.get((each["project"], each["name"]), 0) + 1
    return [each for each in found.keys if each["name"] is not None and counts[each["project"], each["name"]] == 1]


def _sorted(items: Any) -> list[Item]:
    """In the order in which they were made."""
    return sorted(items, key=lambda each: each["id"])
