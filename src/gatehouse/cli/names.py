"""Names on the command line, ids in the API: which one is meant.

Rules: an id is taken as it is; a name must be one thing's exactly (in any case, as the API compares them); two of the
same name are an error that lists their ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import click

from gatehouse.cli.client import Api, ApiError
from gatehouse.config.printable import clean
from gatehouse.store.directory import ids

Kind = Literal["project", "credential", "key", "user"]


class _Place(NamedTuple):
    path: str
    parameter: str
    """By which the API finds what is called so."""


_PLACES: Final[dict[Kind, _Place]] = {
    "project": _Place("/api/v1/projects", "name"),
    "credential": _Place("/api/v1/credentials", "name"),
    "key": _Place("/api/v1/keys", "name"),
    "user": _Place("/api/v1/users", "email"),
}
_MOST_NAMED: Final = 20


def path(kind: Kind, name: str = "") -> str:
    """Of the list, or of the thing with this id."""
    place = _PLACES[kind].path
    return f"{place}/{name}" if name else place


async def identified(api: Api, kind: Kind, name: str, **asked: Any) -> str:
    """The id of what is called `name`. `asked`: further parameters of the list. Raises `click.ClickException`."""
    return str((await called(api, kind, name, **asked))["id"])


async def called(api: Api, kind: Kind, name: str, **asked: Any) -> dict[str, Any]:
    """The one thing called `name`, by name or id. Raises `click.ClickException`."""
    place = _PLACES[kind]
    # The first project is called by its id, too; those of other tenants are not.
    if name != ids.DEFAULT and ids.is_id(kind, name):
        return await api.get(f"{place.path}/{name}")
    items = await api.every(place.path, most=_MOST_NAMED, **{place.parameter: name}, **asked)
    if kind == "key":
        # What a key was rotated to goes by its name, too.
        items = [each for each in items if each["succeeded_by"] is None]
    if not items:
        raise click.ClickException(f"there is no {kind} {clean(name)}")
    if len(items) > 1:
        raise click.ClickException(
            f"{len(items)} {kind}s are called {clean(name)}: name one by its id ({', '.join(e['id'] for e in items)})"
        )
    return items[0]


async def patch(api: Api, kind: Kind, name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is called `name`, by name or id, after `body` was asked of it."""
    return await api.patch(path(kind, await identified(api, kind, name)), body)


async def delete(api: Api, kind: Kind, name: str) -> None:
    """Delete what is called `name`, by name or id."""
    await api.delete(path(kind, await identified(api, kind, name)))


async def rotations(api: Api, name: str) -> list[str]:
    """Ids of the key called `name`, and of those it was rotated from; of a key named by its id that one alone."""
    found = await called(api, "key", name)
    if found["id"] == name:
        return [name]
    keys = await api.every(path("key"), name=found["name"], project=found["project"])
    return [each["id"] for each in keys if each["counts_as"] == found["counts_as"]]


async def labels(api: Api, kind: Kind) -> dict[str, str]:
    """Names by id; none where the caller may not see them, or there is nothing to see yet."""
    try:
        items = await api.every(_PLACES[kind].path)
    except ApiError as error:
        if error.status != 403:
            raise
        return {}
    parameter = _PLACES[kind].parameter
    return {each["id"]: each[parameter] for each in items if each[parameter]}
