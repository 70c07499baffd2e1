"""How gateway keys are made, changed and rotated: nobody makes a key that can do more than they can.

Rules
- A person hands on no permission they lack (`Caller.may_give`), no scope without `proxy:write`, and `provider:any` only
  with `tenant:manage`.
- A key that makes a key stays within its own scopes, models, providers, networks, time and project; what is not said it
  hands on, and each of its hard limits holds for the new one as well.
- Rotating hands the key's text to whoever asks, so it takes what making it would take.
- Nor later: what a key is worth is bounded by what its user and its maker may at that moment (`published`,
  `recognition`). What it would not be worth from the beginning is refused.
- A key made without a word on limits gets `DEFAULT_RATE` requests a minute, hard.
- The key's text is in the answer, once.
"""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field

from gatehouse import errors
from gatehouse.auth import keys, roles, scopes
from gatehouse.auth.roles import Permission
from gatehouse.control.administration import Administration
from gatehouse.control.answers import FieldError, InputError
from gatehouse.control.caller import Caller
from gatehouse.control.limits import LimitTerms, check_terms, limit_of, told
from gatehouse.control.parameters import Body, Id, Moment, Name, Text, referred
from gatehouse.control.projects import unknown_provider
from gatehouse.errors import GatehouseError
from gatehouse.model.access import Environment
from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import KeyFilter, LimitFilter, NewKey, NewLimit, ProjectFilter, Successor
from gatehouse.store.directory.directory import Directory
from gatehouse.store.directory.views import Key, Limit, User

DEFAULT_RATE: Final = 60
LONGEST_OVERLAP: Final = 30 * 86_400
"""Seconds that a rotated key may still be taken."""

MOST_OWN: Final = 100
"""Keys of one's own that whoever may not manage everybody's can make: each is in every worker's memory."""
_MOST_NAMES: Final = 100
_MOST_LIMITS: Final = 20
_PAGE: Final = 500
"""Limits read at a time."""
_WILD: Final = frozenset("*?[")
_LISTS: Final = ("models", "providers", "addresses")
_OPENED: Final = frozenset((*_LISTS, "expires_at"))
"""Terms that a change can open further."""

Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=_MOST_NAMES)]


class KeyTerms(Body):
    """What a key may be used for."""

    scopes: Annotated[Names | None, Field(description="Left out: those marked as default in docs/access.md.")] = None
    models: Annotated[Names, Field(description="Patterns (`gpt-4o*`) of models it may ask for; empty: any.")] = []
    providers: Annotated[Names, Field(description="Providers it may reach; empty: any of its project's.")] = []
    addresses: Annotated[Names, Field(description="Networks (CIDR) it may be used from; empty: from anywhere.")] = []
    role: Annotated[Text | None, Field(description="What it may on the management API; `null`: nothing.")] = None
    expires_at: Annotated[Moment | None, Field(description="RFC 3339.")] = None


class KeyBody(KeyTerms):
    """A new key."""

    name: Annotated[Name | None, Field(description="What to find it by.")] = None
    owner: Annotated[Text | None, Field(description="A label.")] = None
    user: Annotated[Id | None, Field(description="Whose it is. Left out: the caller's own; `null`: nobody's.")] = None
    project: Annotated[Id | None, Field(description="Left out: `default`, or that of the key that makes it.")] = None
    environment: Annotated[Environment, Field(description="`test` keys reach `simulated` and test credentials.")] = (
        "live"
    )
    limits: Annotated[
        list[LimitTerms] | None,
        Field(max_length=_MOST_LIMITS, description="Left out: 60 requests a minute, hard. Empty: none."),
    ] = None


class KeyUpdate(KeyTerms):
    """What changes; what is left out stays."""

    scopes: Names = []
    name: Name | None = None
    owner: Text | None = None
    user: Id | None = None
    disabled: Annotated[bool, Field(description="It is refused with 403 until it is enabled again.")] = False


class Minted(NamedTuple):
    """A key just made, and its text."""

    key: Key
    text: str
    limits: list[Limit]


async def mint(administration: Administration, caller: Caller, body: KeyBody) -> Minted:
    """A new key with its limits, all or nothing. Raises `InputError`, `GatehouseError`."""
    given = body.given()
    directory = administration.directory(caller)
    holder = await holder_of(directory, caller)
    terms = _inherited(holder, given) | {"environment": _environment(holder, body, given)}
    check_key(administration, caller, holder, terms)
    user = given.get("user", caller.user)
    owned(caller, user)
    project = await _project(directory, holder, body)
    if holder is not None and project != holder.project and not caller.may(Permission.KEYS_MANAGE):
        raise InputError(FieldError("project", "a key makes keys of its own project only"))
    await referred("project", directory.project(project))
    maker = _maker(caller, holder)
    await borne(directory, user, maker, terms)
    made = keys.new_key(terms["environment"])
    new = NewKey(
        id=ids.new("key"),
        digest=made.digest,
        last4=made.last4,
        project=project,
        name=body.name,
        owner=body.owner,
        user=user,
        created_by=maker,
        **terms,
    )
    limits = await _limits(directory, holder, body, new.id)
    async with directory.together() as inside:
        told_of = {"environment": new.environment, "role": new.role, "scopes": list(new.scopes)}
        event = caller.event("key.create", "key", new.id, project=project, user=user, **told_of)
        key = await inside.create_key(new, event)
        await _within_room(inside, caller)
        stored = [
            await inside.create_limit(
                limit, caller.event("limit.create", "limit", limit.id, scope="key", **told(limit))
            )
            for limit in limits
        ]
    await administration.changed()
    return Minted(key, made.text, stored)


async def rotate(administration: Administration, caller: Caller, before: Key, overlap: int) -> Minted:
    """The key's successor; the key itself is accepted for `overlap` seconds more. Raises as `mint`."""
    directory = administration.directory(caller)
    holder = await holder_of(directory, caller)
    if holder is not None and holder.id != before.id and not caller.may(Permission.KEYS_MANAGE):
        raise GatehouseError(
            errors.FORBIDDEN, "a gateway key rotates itself only, unless it may manage everybody's keys"
        )
    terms: dict[str, Any] = {name: tuple(getattr(before, name)) for name in ("scopes", *_LISTS)}
    expires = None if before.expires_at is None else times.parse(before.expires_at)
    terms |= {"role": before.role, "environment": before.environment, "expires_at": expires}
    within(caller, holder, terms, refuse=True)
    made = keys.new_key(before.environment)
    new = Successor(ids.new("key"), made.digest, made.last4, created_by=_maker(caller, holder))
    event = caller.event("key.rotate", "key", before.id, successor=new.id, overlap_seconds=overlap)
    async with directory.together() as inside:
        key = await inside.rotate_key(before.id, new, event.at + overlap * times.SECOND, event)
        await _within_room(inside, caller)
    await (administration.changed() if overlap else administration.revoked())
    return Minted(key, made.text, await _of_key(directory, key))


async def _project(directory: Directory, holder: Key | None, body: KeyBody) -> str:
    """What a new key belongs to: as said, else where the key that makes it does, else the project called `default`.
    Of the first tenant that is its id as well."""
    if body.project is not None or holder is not None:
        return body.project or (holder.project if holder is not None else ids.DEFAULT)
    called = await directory.projects(ProjectFilter(name=ids.DEFAULT), 1)
    return called.items[0].id if called.items else ids.DEFAULT


def _maker(caller: Caller, holder: Key | None) -> str | None:
    """Who answers for a key: a person, even where a token or a key of theirs made it. `None`: the operator."""
    return caller.user if caller.user is not None or holder is None else holder.created_by


async def _within_room(inside: Directory, caller: Caller) -> None:
    """That a key of one's own just made was not one too many: asked where no other is made at the same time. Raises
    `GatehouseError` (403)."""
    if caller.only_user is None:
        return
    held = await inside.keys(KeyFilter(user=caller.only_user), MOST_OWN + 1)
    if len(held.items) > MOST_OWN:
        raise GatehouseError(errors.FORBIDDEN, f"you have {MOST_OWN} gateway keys; revoke those you do not need")


async def borne(directory: Directory, user: str | None, maker: str | None, terms: Mapping[str, Any]) -> None:
    """That whoever a key is for, and whoever made it, may have what these terms give. Raises `InputError`."""
    owner = None if user is None else _role_now(await referred("user", directory.user(user)))
    made = None if maker is None else _role_now(await directory.user(maker))
    wanted = tuple(terms.get("scopes", ()))
    if scopes.worth(wanted, (owner, made)) != wanted:
        detail = "holds provider:any, which is for keys of owners and of nobody, made by an owner"
        raise InputError(FieldError("scopes", detail))
    if made is not None and not roles.at_most(made, terms.get("role")):
        raise InputError(FieldError("role", "may do more than whoever made this key: make a new one"))


def _role_now(user: User) -> str:
    return "" if user.disabled else user.role


async def holder_of(directory: Directory, caller: Caller) -> Key | None:
    """The key that is asking. Raises `GatehouseError` for one that makes keys nobody could tell from others' later."""
    if caller.kind != "key" or caller.id is None:
        return None
    if caller.only_key is not None:
        detail = "a gateway key that belongs to no user cannot make keys; give it a user, or the role admin"
        raise GatehouseError(errors.FORBIDDEN, detail)
    return await directory.key(caller.id)


def check_key(administration: Administration, caller: Caller, holder: Key | None, terms: Mapping[str, Any]) -> None:
    """That these terms mean something, and are the caller's to give. Raises `InputError`."""
    problems = [FieldError("scopes", f"there is no scope {name}") for name in scopes.unknown(terms.get("scopes", ()))]
    for index, name in enumerate(terms.get("providers", ())):
        if name not in administration.means.providers:
            problems.append(FieldError(f"providers[{index}]", unknown_provider(administration.means.providers)))
    for index, pattern in enumerate(terms.get("models", ())):
        if not pattern.isprintable() or " " in pattern:
            problems.append(FieldError(f"models[{index}]", "holds a space or a control character"))
    expires = terms.get("expires_at")
    if expires is not None and expires <= times.now():
        problems.append(FieldError("expires_at", "is over already"))
    if problems:
        raise InputError(*problems)
    within(caller, holder, terms)


def within(caller: Caller, holder: Key | None, terms: Mapping[str, Any], *, refuse: bool = False) -> None:
    """That the caller has what these terms give. Raises `InputError`; with `refuse`, 403: the terms are not theirs."""
    problems = []
    if not caller.may_give(terms.get("role")):
        problems.append(FieldError("role", f"is none of {', '.join(roles.ROLES)}, or may do more than you may"))
    wanted = terms.get("scopes", ())
    if not scopes.at_most(_scopes(caller, holder), wanted):
        problems.append(FieldError("scopes", "name more than you may hand on"))
    if holder is not None:
        problems += _beyond(holder, terms)
    if not problems:
        return
    if refuse:
        what = ", ".join(problem.field for problem in problems)
        raise GatehouseError(errors.FORBIDDEN, f"this key may do more than you may ({what})")
    raise InputError(*problems)


def handed_on(caller: Caller, before: Key, given: Mapping[str, Any]) -> None:
    """That whoever opens a key further hands on no more than they have: taken from its user, who bounded what it is
    worth, or with a later end, a key may do more than before. Raises `GatehouseError` (403)."""
    moved = given.get("user", before.user) != before.user
    if not (moved or given.keys() & _OPENED or (before.disabled_at is not None and given.get("disabled") is False)):
        return
    beyond = [] if caller.may_give(given.get("role", before.role)) else ["role"]
    if str(scopes.Scope.ANY) in given.get("scopes", before.scopes) and not caller.may(Permission.TENANT_MANAGE):
        beyond.append("scopes")
    if beyond:
        detail = f"this key may do more than you may ({', '.join(beyond)}); take that from it, or leave it as it is"
        raise GatehouseError(errors.FORBIDDEN, detail)


def converted(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a body as the directory takes them. Raises `InputError`."""
    found = dict(given)
    for name in ("scopes", "models", "providers"):
        if found.get(name) is not None:
            found[name] = tuple(dict.fromkeys(found[name]))
    if "addresses" in found:
        found["addresses"] = _networks(found["addresses"])
    if isinstance(found.get("expires_at"), datetime):
        found["expires_at"] = times.of(found["expires_at"])
    return found


def _inherited(holder: Key | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a new key may be used for."""
    fields = ("scopes", *_LISTS, "role", "expires_at")
    terms = converted({name: given[name] for name in fields if name in given})
    if terms.get("scopes") is None:
        held = scopes.SCOPES if holder is None else holder.scopes
        role = terms.get("role")
        calls = role is None or roles.allowed(role, Permission.PROXY_WRITE)
        terms["scopes"] = tuple(name for name in scopes.DEFAULT if calls and scopes.covers(held, name))
    if holder is None:
        return terms
    for name in _LISTS:
        terms.setdefault(name, tuple(getattr(holder, name)))
    if holder.expires_at is not None:
        terms.setdefault("expires_at", times.parse(holder.expires_at))
    return terms


def _environment(holder: Key | None, body: KeyBody, given: Mapping[str, Any]) -> Environment:
    return body.environment if holder is None or "environment" in given else holder.environment


def _scopes(caller: Caller, holder: Key | None) -> frozenset[str]:
    """What the caller may hand on."""
    if not caller.may(Permission.PROXY_WRITE):
        return frozenset()
    allowed = scopes.SCOPES if caller.may(Permission.TENANT_MANAGE) else scopes.SCOPES - {str(scopes.Scope.ANY)}
    return allowed if holder is None else frozenset(name for name in allowed if scopes.covers(holder.scopes, name))


def _beyond(holder: Key, terms: Mapping[str, Any]) -> list[FieldError]:
    """Where terms give more than a key has."""
    problems = []
    if holder.environment == "test" and terms.get("environment") == "live":
        problems.append(FieldError("environment", "a test key makes test keys only"))
    if holder.providers and "providers" in terms and not _all_in(terms["providers"], holder.providers):
        problems.append(FieldError("providers", "are more than those of the key that asks"))
    if holder.models and "models" in terms and not _models_in(terms["models"], holder.models):
        problems.append(FieldError("models", "are more than those of the key that asks"))
    if holder.addresses and "addresses" in terms and not _networks_in(terms["addresses"], holder.addresses):
        problems.append(FieldError("addresses", "are more than those of the key that asks"))
    if holder.expires_at is not None and "expires_at" in terms:
        expires = terms["expires_at"]
        if expires is None or expires > times.parse(holder.expires_at):
            problems.append(FieldError("expires_at", "is later than that of the key that asks"))
    return problems


def _all_in(wanted: Sequence[str], held: Sequence[str]) -> bool:
    return bool(wanted) and set(wanted) <= set(held)


def _models_in(wanted: Sequence[str], held: Sequence[str]) -> bool:
    return bool(wanted) and all(
        pattern in held or (not _WILD & set(pattern) and any(fnmatch.fnmatchcase(pattern, each) for each in held))
        for pattern in wanted
    )


def _networks_in(wanted: Sequence[str], held: Sequence[str]) -> bool:
    around = [ipaddress.ip_network(each, strict=False) for each in held]
    return bool(wanted) and all(
        any(network.version == each.version and _inside(network, each) for each in around)
        for network in (ipaddress.ip_network(each, strict=False) for each in wanted)
    )


def _inside(network: Any, around: Any) -> bool:
    return bool(network.subnet_of(around))


def _networks(given: Sequence[str]) -> tuple[str, ...]:
    """As they are written down. Raises `InputError`."""
    found, problems = [], []
    for index, text in enumerate(given):
        try:
            found.append(str(ipaddress.ip_network(text, strict=False)))
        except ValueError:
            problems.append(FieldError(f"addresses[{index}]", "is no address or network, such as 10.0.0.0/8"))
    if problems:
        raise InputError(*problems)
    return tuple(dict.fromkeys(found))


def owned(caller: Caller, user: str | None) -> None:
    """Raises `InputError` where one may only make one's own."""
    if caller.only_user is not None and user != caller.only_user:
        raise InputError(FieldError("user", "you may only have keys of your own"))


async def _limits(directory: Directory, holder: Key | None, body: KeyBody, key: str) -> list[NewLimit]:
    """Raises `InputError`."""
    wanted = body.limits
    if wanted is None:
        wanted = [LimitTerms(measure="requests", window="minute", cap=DEFAULT_RATE)]
    for index, terms in enumerate(wanted):
        check_terms(terms.model_dump(), f"limits[{index}].")
    limits = [limit_of(terms, "key", key) for terms in wanted]
    if holder is None:
        return limits
    for held in await _of_key(directory, holder):
        if not held.hard:
            continue
        same = [each for each in limits if each.hard and (each.measure, each.window) == (held.measure, held.window)]
        if body.limits is not None and same and all(each.cap > held.cap for each in same):
            raise InputError(FieldError("limits", f"{held.measure} per {held.window}: more than the key that asks has"))
        if not any(each.cap <= held.cap for each in same):
            fields = {name: getattr(held, name) for name in NewLimit.__struct_fields__}
            limits.append(NewLimit(**(fields | {"id": ids.new("limit"), "scope_id": key})))
    return limits


async def _of_key(directory: Directory, key: Key) -> list[Limit]:
    """All limits on a key."""
    found: list[Limit] = []
    cursor: str | None = None
    while True:
        page = await directory.limits(LimitFilter(scope="key", scope_id=key.id), _PAGE, cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
