"""Who may do what: every route as every role, as nobody, as another tenant (I6, F11, O8)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from gatehouse.auth.keys import new_key
from gatehouse.auth.platform import PlatformToken, PlatformTokens
from gatehouse.auth.roles import ROLES, Permission
from gatehouse.control.answers import answer
from gatehouse.control.caller import SCOPE, Caller
from gatehouse.control.cookies import Origins
from gatehouse.control.gate import Gate
from gatehouse.control.permissions import TABLE, House, Own, Rule, Rules
from gatehouse.control.recognition import Recognition
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import KeyChange, UserChange
from tests.control import doors
from tests.control.doors import ELSEWHERE, OPERATOR, URL, event, house

ROWS = sorted(TABLE)


class Passed(msgspec.Struct):
    """What the gate let through."""

    kind: str
    tenant: str
    id: str | None
    user: str | None
    only_user: str | None
    only_key: str | None
    query: str


async def _behind(scope: Scope, receive: Receive, send: Send) -> None:
    """A sibling of the app that tells whom it was shown."""
    caller: Caller = scope[SCOPE]
    query = scope["query_string"].decode()
    told = Passed(caller.kind, caller.tenant, caller.id, caller.user, caller.only_user, caller.only_key, query)
    await answer(told)(scope, receive, send)


class Walker:
    """Asks a gate with nothing behind it."""

    def __init__(self, made: doors.House) -> None:
        gate = Gate(_behind, recognition=Recognition(made.accounts), origins=Origins(None), rules=Rules())
        self._client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=gate), base_url="http://control")

    async def ask(self, method: str, path: str, headers: Mapping[str, str], peer: str | None = ELSEWHERE) -> Any:
        passed = {**({"x-gatehouse-peer": peer} if peer is not None else {}), "x-gatehouse-base": URL, **headers}
        return await self._client.request(method, path, headers=passed)

    async def passes(self, row: tuple[str, str], headers: Mapping[str, str]) -> int:
        """The status for a row's route."""
        status: int = (await self.ask(row[0], _path(row[1]), headers)).status_code
        return status


def _path(template: str) -> str:
    return re.sub(r"\{[^}]+\}", "some-id", template)


def _may(rule: Rule, role: str, tenant: str) -> bool:
    may = ROLES[role]
    match rule:
        case "public" | "caller":
            return True
        case "operator":
            return False
        case House(permission):
            return tenant == ids.DEFAULT and permission in may
        case Own(everything, own):
            return everything in may or own in may
        case _:
            return rule in may


def test_every_route_has_its_row_and_every_row_its_route(tmp_path: Path) -> None:
    """F11: no route is forgotten; and the gate finds for a path the row of the route that will answer."""

    async def run() -> set[tuple[str, str]]:
        async with house(tmp_path, founded=False) as made:
            return set(_routes(made.application.routes))

    there = asyncio.run(run())
    assert there == set(TABLE)
    rules = Rules()
    for method, template in there:
        assert rules.of(_path(template))[method] == TABLE[method, template]
    for nothing in ("/", "/api/v1", "/api/v1/", "/api/v1/users/", "/api/v1/users//sessions", "//health", "/health/"):
        assert rules.of(nothing) == {}


@pytest.mark.parametrize("role", sorted(ROLES))
def test_every_route_as_every_role(tmp_path: Path, role: str) -> None:
    """By a platform token and by a gateway key with the role, in the first tenant and in another."""

    async def run() -> None:
        async with house(tmp_path) as made:
            other, key = await made.tenant(), new_key("live")
            await made.key(key.digest, role=role)
            walker = Walker(made)
            callers = [(ids.DEFAULT, {"x-api-key": key.text})]
            for tenant in (ids.DEFAULT, other):
                callers.append((tenant, await made.bearer(await made.user(role, tenant), tenant)))
            for tenant, headers in callers:
                for row in ROWS:
                    expected = 200 if _may(TABLE[row], role, tenant) else 403
                    assert await walker.passes(row, headers) == expected, (row, tenant)

    asyncio.run(run())


def test_every_route_as_nobody(tmp_path: Path) -> None:
    """Without a credential, on this machine too; with one that is nobody's; past the workers."""

    async def run() -> None:
        async with house(tmp_path) as made:
            walker, unknown = Walker(made), new_key("live").text
            forged = PlatformTokens(b"x" * 32).issue(PlatformToken("tok_x", "default", "usr_x", (), 0, 60)).text
            for row in ROWS:
                public = TABLE[row] == "public"
                for headers in ({}, {"authorization": f"Bearer {unknown}"}, {"authorization": f"Bearer {forged}"}):
                    for peer in (ELSEWHERE, "127.0.0.1", ""):
                        answered = await walker.ask(row[0], _path(row[1]), headers, peer)
                        assert answered.status_code == (200 if public else 401), (row, headers)
                assert (await walker.ask(row[0], _path(row[1]), {}, None)).status_code == 403
                assert (await walker.ask(*_at(row), {"x-gatehouse-local-token": "0" * 64})).status_code == 401
                assert await walker.passes(row, OPERATOR) == 200

    asyncio.run(run())


def test_what_is_not_there_is_not_there_for_anybody(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            walker = Walker(made)
            assert (await walker.ask("GET", "/api/v1/nothing", {})).status_code == 401
            assert (await walker.ask("GET", "/api/v1/nothing", OPERATOR)).status_code == 404
            refused = await walker.ask("PUT", "/api/v1/users", OPERATOR)
            assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST")

    asyncio.run(run())


def test_the_operator_acts_in_the_tenant_that_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            other, walker = await made.tenant(), Walker(made)

            async def asked(path: str, **headers: str) -> Any:
                return await walker.ask("GET", path, OPERATOR | headers, None)

            for path, headers in (
                (f"/api/v1/users?tenant={other}&a=b+c&tenant={other}", {}),
                ("/api/v1/users?a=b+c", {"x-gatehouse-tenant": other}),
            ):
                told = (await asked(path, **headers)).json()
                assert (told["kind"], told["tenant"], told["query"]) == ("operator", other, "a=b+c")
            assert (await asked("/api/v1/users")).json()["tenant"] == ids.DEFAULT
            for wrong in ("../x", "usr_x", "a' OR 1=1"):
                assert (await asked("/api/v1/users", **{"x-gatehouse-tenant": wrong})).status_code == 400
            assert (await asked(f"/api/v1/users?tenant={other}&tenant=default")).status_code == 400
            # Nobody else names a tenant.
            bearer = await made.bearer(made.made["owner"])
            told = (await walker.ask("GET", f"/api/v1/users?tenant={other}", bearer)).json()
            assert (told["tenant"], told["query"]) == (ids.DEFAULT, f"tenant={other}")

    asyncio.run(run())


def test_a_member_sees_and_changes_their_own(tmp_path: Path) -> None:
    """A7."""

    async def run() -> None:
        async with house(tmp_path) as made:
            walker, member = Walker(made), await made.user("member")
            key, theirs = new_key("live"), new_key("test")
            name = await made.key(key.digest, role="member")
            await made.key(theirs.digest, role="member", user=member)
            told = (await walker.ask("GET", "/api/v1/traces", await made.bearer(member))).json()
            assert (told["only_user"], told["only_key"]) == (member, None)
            told = (await walker.ask("GET", "/api/v1/traces", {"x-gatehouse-key": key.text})).json()
            assert (told["only_user"], told["only_key"]) == (None, name)
            told = (await walker.ask("GET", "/api/v1/traces", {"x-ongoingai-gateway-key": theirs.text})).json()
            assert (told["only_user"], told["user"]) == (member, member)
            told = (await walker.ask("GET", "/api/v1/traces", await made.bearer(await made.user("viewer")))).json()
            assert (told["only_user"], told["only_key"]) == (None, None)

    asyncio.run(run())


def test_a_token_and_a_key_are_worth_what_their_user_may_now(tmp_path: Path) -> None:

    async def run() -> None:
        async with house(tmp_path) as made:
            walker, admin, key = Walker(made), await made.user("admin"), new_key("live")
            directory = made.accounts.administration.tenant(ids.DEFAULT)
            await made.key(key.digest, role="admin", user=admin)
            token, narrow = await made.bearer(admin), await made.bearer(admin, role="viewer")
            row = ("POST", "/api/v1/users")
            callers = (token, {"authorization": f"Bearer {key.text}"})
            assert await walker.passes(row, narrow) == 403
            assert [await walker.passes(row, each) for each in callers] == [200, 200]
            await directory.update_user(admin, UserChange(role="developer"), event("user.update", admin))
            assert [await walker.passes(row, each) for each in callers] == [403, 403]
            assert [await walker.passes(("GET", "/api/v1/me"), each) for each in callers] == [200, 200]
            await directory.update_user(admin, UserChange(disabled=True), event("user.update", admin))
            assert [await walker.passes(("GET", "/api/v1/me"), each) for each in callers] == [401, 401]

    asyncio.run(run())


def test_keys_that_open_nothing_here(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            walker, plain, bound, off = Walker(made), new_key("live"), new_key("live"), new_key("live")
            await made.key(plain.digest)
            await made.key(bound.digest, role="viewer", addresses=("203.0.113.0/28", "2001:db8::/32"))
            name = await made.key(off.digest, role="viewer")
            directory = made.accounts.administration.tenant(ids.DEFAULT)
            assert (await walker.ask("GET", "/api/v1/me", {"x-api-key": off.text})).status_code == 200
            await directory.update_key(name, KeyChange(disabled=True), event("key.update", name))
            for key, peer, status in (
                (plain, ELSEWHERE, 403),
                (off, ELSEWHERE, 401),
                (bound, "203.0.113.9", 200),
                (bound, "::ffff:203.0.113.9", 200),
                (bound, "2001:db8::1", 200),
                (bound, "203.0.113.99", 403),
                (bound, "", 403),
            ):
                assert (await walker.ask("GET", "/api/v1/me", {"x-api-key": key.text}, peer)).status_code == status
            # Where nobody need be known, a key that opens nothing is in nobody's way.
            assert (await walker.ask("GET", "/health", {"x-api-key": plain.text})).status_code == 200

    asyncio.run(run())


def test_one_credential_counts(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            walker, key = Walker(made), new_key("live")
            await made.key(key.digest, role="viewer")
            token = await made.bearer(made.made["owner"])
            both = await walker.ask("GET", "/api/v1/me", token | {"x-api-key": key.text})
            assert (both.status_code, "(x-api-key, authorization)" in both.json()["detail"]) == (401, True)
            same = {"authorization": f"bearer {key.text}", "x-api-key": key.text}
            assert (await walker.ask("GET", "/api/v1/me", same)).json()["kind"] == "key"
            for odd in ("Basic dXNlcjpwYXNz", "Bearer", "Bearer sk-provider-key-of-somebody", f"Token {key.text}"):
                assert (await walker.ask("GET", "/api/v1/me", {"authorization": odd})).status_code == 401
            assert (await walker.ask("GET", f"/api/v1/me?key={key.text}", {})).status_code == 401

    asyncio.run(run())


def test_permissions_are_those_of_the_table() -> None:
    """Some rows spelt out, so that a slip in the table is seen."""
    assert TABLE["POST", "/api/v1/users"] is Permission.MEMBERS_MANAGE
    assert TABLE["GET", "/api/v1/users"] is Permission.ACCESS_READ
    assert TABLE["POST", "/api/v1/tenants"] == "operator"
    assert TABLE["GET", "/api/v1/analytics/logs"] == TABLE["GET", "/api/v1/traces"]  # both show calls one by one
    public = {row for row in ROWS if TABLE[row] == "public"}
    assert public == {
        ("GET", "/health"), ("HEAD", "/health"), ("GET", "/api/v1/setup"), ("POST", "/api/v1/setup"),
        ("GET", "/api/v1/session"), ("POST", "/api/v1/session"), ("DELETE", "/api/v1/session"),
        ("POST", "/api/v1/invitation"), ("GET", "/api/v1/sso/start"), ("GET", "/api/v1/sso/callback"),
        ("POST", "/api/v1/sso/token"),
    }  # fmt: skip


def _routes(routes: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Every method and path there is, those of included routers too."""
    for route in routes:
        if hasattr(route, "original_router"):
            yield from _routes(route.original_router.routes)
        else:
            # Starlette gives each GET of its own (the API's description) a HEAD as well.
            yield from (
                (method, route.path) for method in route.methods if isinstance(route, APIRoute) or method == "GET"
            )


def _at(row: tuple[str, str]) -> tuple[str, str]:
    return row[0], _path(row[1])
