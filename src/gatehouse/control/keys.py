"""`/api/v1/keys`: gateway keys. A key's text is in the answer that made it, and nowhere else."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from gatehouse.auth.keys import masked
from gatehouse.auth.roles import Permission
from gatehouse.config import control_headers
from gatehouse.control import minting
from gatehouse.control.administration import Administration, Means
from gatehouse.control.answers import Answers, FieldError, InputError, answer, done
from gatehouse.control.caller import Caller, caller_of
from gatehouse.control.minting import LONGEST_OVERLAP, KeyBody, KeyUpdate, Minted
from gatehouse.control.parameters import Body, Id, NoParameters, Paging, Word, once
from gatehouse.control.projects import flags
from gatehouse.store.directory.changes import KeyChange, KeyFilter
from gatehouse.store.directory.directory import Directory
from gatehouse.store.directory.errors import NotThere
from gatehouse.store.directory.views import Key, Limit, Page


class ShownKey(Key, frozen=True, kw_only=True):
    """A gateway key as lists show it."""

    key: str
    """Masked, `gth_live_…yyyy`."""


class MadeKey(Key, frozen=True, kw_only=True):
    """A gateway key just made."""

    key: str
    """The whole key, this once."""
    limits: list[Limit]
    exports: dict[str, list[str]]
    """By SDK, the lines for a shell that have it use this key."""


ANSWERS: Final[Answers] = {
    ("GET", "/api/v1/keys"): (200, Page[ShownKey]),
    ("POST", "/api/v1/keys"): (201, MadeKey),
    ("GET", "/api/v1/keys/{id}"): (200, ShownKey),
    ("PATCH", "/api/v1/keys/{id}"): (200, ShownKey),
    ("DELETE", "/api/v1/keys/{id}"): (204, None),
    ("POST", "/api/v1/keys/{id}/rotate"): (201, MadeKey),
}
_EXPORTS: Final = (
    ("openai", "OPENAI_BASE_URL", "/v1", "OPENAI_API_KEY"),
    ("anthropic", "ANTHROPIC_BASE_URL", "", "ANTHROPIC_API_KEY"),
    ("google", "GOOGLE_GEMINI_BASE_URL", "", "GEMINI_API_KEY"),
)
"""SDK, variable of its base URL, what it expects behind our address, variable of its key."""

KeyId = Annotated[Id, Path(alias="id", description="Id of the key.")]


class KeyParameters(Paging):
    """Which keys."""

    project: Annotated[Id | None, Field(description="Of this project.")] = None
    user: Annotated[Id | None, Field(description="Of this user.")] = None
    name: Annotated[Word | None, Field(description="With this name.")] = None
    last4: Annotated[str | None, Field(pattern="^[0-9A-Za-z]{4}$", description="That end like this.")] = None
    revoked: Annotated[bool, Field(description="Those that were revoked, instead of those that were not.")] = False


class CutParameters(NoParameters):
    """What becomes of a key's running calls."""

    cut: Annotated[
        bool, Field(description="End running calls of the key, too, instead of letting them end as they would.")
    ] = False


class RotateBody(Body):
    """How a key is replaced."""

    overlap_seconds: Annotated[
        int, Field(ge=0, le=LONGEST_OVERLAP, description="So long the old key is still taken; 0: not at all.")
    ] = 86_400


def routes(administration: Administration) -> APIRouter:
    """The routes over one tenant's keys."""
    router = APIRouter(prefix="/api/v1/keys", tags=["keys"])

    @router.get("", summary="Gateway keys, newest first")
    async def list_keys(request: Request, asked: Annotated[KeyParameters, Query()]) -> Response:
        once(request)
        caller = caller_of(request)
        directory = administration.reading(caller)
        if caller.only_key is not None:
            own = await directory.key(caller.only_key)
            return answer(Page([shown(own)] if asked.cursor is None else [], None))
        user = caller.only_user or asked.user
        if caller.only_user is not None and asked.user not in (None, caller.only_user):
            return answer(Page[ShownKey]([], None))
        wanted = KeyFilter(asked.project, user, asked.name, asked.last4, asked.revoked)
        page = await directory.keys(wanted, asked.limit, asked.cursor)
        return answer(Page([shown(key) for key in page.items], page.next_cursor))

    @router.post("", summary="Make a gateway key")
    async def create_key(request: Request, body: KeyBody, _asked: Annotated[NoParameters, Query()]) -> Response:
        """Its text is in this answer only. It usually works at once."""
        caller = caller_of(request)
        minted = await minting.mint(administration, caller, body)
        return answer(made(minted, address(request, administration.means)), 201)

    @router.get("/{id}", summary="One gateway key, masked")
    async def show_key(request: Request, name: KeyId, _asked: Annotated[NoParameters, Query()]) -> Response:
        caller = caller_of(request)
        return answer(shown(await own_key(administration.reading(caller), caller, name)))

    @router.patch("/{id}", summary="Change a gateway key")
    async def update_key(
        request: Request, name: KeyId, body: KeyUpdate, asked: Annotated[CutParameters, Query()]
    ) -> Response:
        """It answers when every worker goes by it. Disabled: 403 for whoever comes with it."""
        once(request)
        caller = caller_of(request)
        if asked.cut and body.given().get("disabled") is not True:
            raise InputError(FieldError("cut", "goes with `disabled: true` only"))
        directory = administration.directory(caller)
        before = await own_key(directory, caller, name)
        given = minting.converted(body.given())
        if before.disabled_at is not None and given.get("disabled") is False:
            # Whoever disabled it may have meant its owner.
            caller.require(Permission.KEYS_MANAGE)
        minting.check_key(administration, caller, await minting.holder_of(directory, caller), given)
        if "user" in given:
            minting.owned(caller, given["user"])
        minting.handed_on(caller, before, given)
        if given.keys() & {"user", "scopes", "role"}:
            terms = {"scopes": given.get("scopes", before.scopes), "role": given.get("role")}
            await minting.borne(directory, given.get("user", before.user), before.created_by, terms)
        told = flags(given) | ({"role": given["role"]} if "role" in given else {})
        event = caller.event("key.update", "key", name, **told)
        changed = await directory.update_key(name, KeyChange(**given), event)
        await administration.revoked((name,) if asked.cut else ())
        return answer(shown(changed))

    _ended(router, administration)
    return router


def _ended(router: APIRouter, administration: Administration) -> None:
    @router.delete("/{id}", summary="Revoke a gateway key", status_code=204)
    async def revoke_key(request: Request, name: KeyId, asked: Annotated[CutParameters, Query()]) -> Response:
        """For good. It answers when no worker takes the key any more; running calls end as they would, or with `cut`
        have ended by then."""
        once(request)
        await revoke(administration, caller_of(request), name, cut=asked.cut)
        return done()

    @router.post("/{id}/rotate", summary="Replace a gateway key by a new one")
    async def rotate_key(
        request: Request, name: KeyId, body: RotateBody, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """The new one has everything of the old one, its limits and their counters included."""
        caller = caller_of(request)
        before = await own_key(administration.directory(caller), caller, name)
        rotated = await minting.rotate(administration, caller, before, body.overlap_seconds)
        return answer(made(rotated, address(request, administration.means)), 201)


async def own_key(directory: Directory, caller: Caller, name: str) -> Key:
    """A key that the caller may see. Raises `NotThere`."""
    found = await directory.key(name)
    if caller.only_user is not None and found.user != caller.only_user:
        raise NotThere(f"there is no key {name}")
    if caller.only_key is not None and found.id != caller.only_key:
        raise NotThere(f"there is no key {name}")
    return found


async def revoke(administration: Administration, caller: Caller, name: str, *, cut: bool = False) -> None:
    """For good, and on every worker. `cut`: with its running calls, also where it was revoked before. Raises
    `NotThere`."""
    directory = administration.directory(caller)
    found = await own_key(directory, caller, name)
    if not cut or found.revoked_at is None:
        await directory.revoke_key(name, caller.event("key.revoke", "key", name))
    await administration.revoked((name,) if cut else ())


def shown(key: Key) -> ShownKey:
    """A key, masked."""
    return ShownKey(**msgspec.structs.asdict(key), key=masked(key.environment, key.last4))


def address(request: Request, means: Means) -> str:
    """The gateway's URL for who asks: as configured, else as they came."""
    return (means.public_url or request.headers.get(control_headers.BASE) or means.address).rstrip("/")


def made(minted: Minted, address: str) -> MadeKey:
    """A key with its text. `address`: the gateway's."""
    key, text, limits = minted
    lines = exports(address, text) if key.scopes else {}
    fields: dict[str, Any] = msgspec.structs.asdict(key)
    return MadeKey(**fields, key=text, limits=limits, exports=lines)


def exports(address: str, text: str) -> dict[str, list[str]]:
    """By SDK, lines for a shell."""
    return {
        sdk: [f"export {url}={shlex.quote(address + suffix)}", f"export {name}={shlex.quote(text)}"]
        for sdk, url, suffix, name in _EXPORTS
    }
