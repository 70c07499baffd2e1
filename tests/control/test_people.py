"""People, platform tokens and tenants: who may make, change and end them, and what is told of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from gatehouse import errors
from gatehouse.auth.identity import Identities
from gatehouse.auth.platform import PlatformTokens
from gatehouse.auth.roles import ROLES
from gatehouse.errors import GatehouseError
from gatehouse.model.access import Role
from gatehouse.store.directory import ids
from tests.control.doors import OWNER, PASSWORD, Browser, House, house

USERS = "/api/v1/users"
TOKENS = "/api/v1/auth/token"


def test_roles_are_said_once() -> None:
    assert set(get_args(Role)) == set(ROLES)


def test_nobody_hands_out_or_touches_more_than_they_have(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            admin, owner = await made.user("admin"), made.made["owner"]
            bearer = await made.bearer(admin)

            async def status(method: str, path: str, **body: object) -> int:
                return (await made.ask(method, path, bearer, json=body or None)).status_code

            assert await status("POST", USERS, email="a@example.com", role="owner") == 403
            assert await status("POST", USERS, email="a@example.com", role="admin") == 201
            for body in ({"role": "viewer"}, {"disabled": True}, {"email": "mine@example.com"}):
                assert await status("PATCH", f"{USERS}/{owner}", **body) == 403
            assert await status("PATCH", f"{USERS}/{admin}", role="owner") == 403
            assert await status("POST", f"{USERS}/{owner}/invitation") == 403
            assert await status("DELETE", f"{USERS}/{owner}/sessions") == 403
            assert await status("DELETE", f"{USERS}/{owner}") == 403
            # What a token leaves out, it cannot hand out either, whatever its user may.
            narrow = await made.bearer(owner, scopes=["members:manage", "access:read"])
            new = {"email": "b@example.com", "role": "viewer"}
            assert (await made.ask("POST", USERS, narrow, json=new)).status_code == 403

    asyncio.run(run())


def test_nobody_revokes_a_token_of_who_may_more(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            admin, member = await made.user("admin"), await made.user("member")
            headers = await made.bearer(admin)
            for whose, status in ((made.made["owner"], 403), (admin, 204), (member, 204)):
                token = (await made.operate("POST", TOKENS, json={"user": whose})).json()["id"]
                revoked = await made.ask("DELETE", f"{TOKENS}/{token}", headers)
                assert revoked.status_code == status, revoked.text

    asyncio.run(run())


def test_the_last_owner_stays(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            owner = made.made["owner"]
            for method, body in (("PATCH", {"role": "admin"}), ("PATCH", {"disabled": True}), ("DELETE", None)):
                refused = await made.operate(method, f"{USERS}/{owner}", json=body)
                assert (refused.status_code, "only owner" in refused.json()["detail"]) == (400, True)
            await made.user("owner")
            assert (await made.operate("PATCH", f"{USERS}/{owner}", json={"role": "admin"})).json()["role"] == "admin"

    asyncio.run(run())


def test_whoever_is_disabled_or_erased_is_out_and_workers_know(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            await made.user("owner")
            owner, browser = made.made["owner"], Browser(made)
            await browser.log_in()
            bearer = await made.bearer(owner)
            before = made.workers.awaited
            assert (await made.operate("PATCH", f"{USERS}/{owner}", json={"disabled": True})).status_code == 200
            assert made.workers.awaited > before
            assert (await browser.ask("GET", "/api/v1/me")).status_code == 401
            assert (await made.ask("GET", "/api/v1/me", bearer)).status_code == 401
            assert (await browser.log_in()).status_code == 401
            assert (await made.operate("PATCH", f"{USERS}/{owner}", json={"disabled": False})).status_code == 200
            assert (await browser.log_in()).status_code == 201
            assert (await made.operate("DELETE", f"{USERS}/{owner}")).status_code == 204
            assert (await browser.ask("GET", "/api/v1/me")).status_code == 401
            shown = (await made.operate("GET", f"{USERS}/{owner}")).json()
            assert (shown["email"], shown["name"], shown["erased_at"] is None) == (None, None, False)
            assert OWNER not in (await made.operate("GET", USERS)).text

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("POST", "/invitation", None), ("DELETE", "/sessions", None), ("PATCH", "", {"disabled": True})],
)
def test_whoever_is_shut_out_keeps_no_token(tmp_path: Path, method: str, path: str, body: object) -> None:
    """A platform token does not outlive the password that made it."""

    async def run() -> None:
        async with house(tmp_path) as made:
            held = await made.user("admin")
            token, other = await made.bearer(held), await made.bearer(await made.user("admin"))
            done = await made.operate(method, f"/api/v1/users/{held}{path}", json=body)
            assert done.status_code in (200, 201), done.text
            await made.operate("PATCH", f"/api/v1/users/{held}", json={"disabled": False})
            assert (await made.ask("GET", "/api/v1/me", token)).status_code == 401
            assert (await made.ask("GET", "/api/v1/me", other)).status_code == 200

    asyncio.run(run())


def test_users_are_listed_page_by_page_and_found(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            names = {made.made["owner"], *[await made.user("viewer") for _ in range(4)]}
            found, cursor = set(), None
            while True:
                asked = {"limit": "2"} if cursor is None else {"limit": "2", "cursor": cursor}
                page = (await made.operate("GET", USERS, params=asked)).json()
                found |= {each["id"] for each in page["items"]}
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            assert found == names
            [one] = (await made.operate("GET", USERS, params={"email": OWNER.upper()})).json()["items"]
            assert one["id"] == made.made["owner"]
            assert len((await made.operate("GET", USERS, params={"role": "viewer"})).json()["items"]) == 4
            for asked, field in (({"cursor": "x"}, "cursor"), ({"role": "king"}, "role"), ({"limit": "0"}, "limit")):
                wrong = await made.operate("GET", USERS, params=asked)
                assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, field)
            twice = await made.operate("POST", USERS, json={"email": OWNER.upper(), "role": "viewer"})
            assert twice.status_code == 400

    asyncio.run(run())


def test_another_tenants_people_are_not_there(place: Path) -> None:
    """I6: 404, as if they were nobody."""

    async def run() -> None:
        async with house(place) as made:
            other = await made.tenant()
            theirs, bearer = made.made["other owner"], await made.bearer(made.made["owner"])
            token = await made.bearer(theirs, other)
            jti = (await made.operate("GET", TOKENS, params={"tenant": other})).json()["items"][0]["id"]
            for method, path in (
                ("GET", f"{USERS}/{theirs}"),
                ("PATCH", f"{USERS}/{theirs}"),
                ("DELETE", f"{USERS}/{theirs}"),
                ("POST", f"{USERS}/{theirs}/invitation"),
                ("DELETE", f"{USERS}/{theirs}/sessions"),
                ("DELETE", f"{TOKENS}/{jti}"),
            ):
                body = {"disabled": True} if method == "PATCH" else None
                assert (await made.ask(method, path, bearer, json=body)).status_code == 404, path
            assert theirs not in (await made.ask("GET", USERS, bearer)).text
            assert (await made.ask("GET", "/api/v1/me", token)).json()["tenant"] == other

    asyncio.run(run())


def test_a_platform_token_is_scoped_revocable_and_no_data_plane_credential(place: Path) -> None:
    """T6."""

    async def run() -> None:
        async with house(place) as made:
            browser = Browser(made)
            await browser.log_in()
            issued = (await browser.ask("POST", TOKENS, json={"role": "viewer", "ttl_seconds": 600})).json()
            assert (issued["token_type"], issued["user"]) == ("Bearer", made.made["owner"])
            assert issued["scopes"] == sorted(ROLES["viewer"])
            bearer = {"authorization": f"Bearer {issued['token']}"}
            me = (await made.ask("GET", "/api/v1/me", bearer)).json()
            assert (me["kind"], me["id"], me["permissions"]) == ("token", issued["id"], issued["scopes"])
            assert (await made.ask("POST", USERS, bearer, json={})).status_code == 403
            assert (await made.ask("POST", TOKENS, bearer, json={})).status_code == 403  # it would never end
            with pytest.raises(GatehouseError) as refused:
                Identities({}).verify(issued["token"].encode(), 0)
            assert refused.value.kind is errors.UNAUTHORIZED
            listed = await browser.ask("GET", TOKENS)
            assert issued["token"] not in listed.text and listed.json()["items"][0]["id"] == issued["id"]
            assert (await browser.ask("DELETE", f"{TOKENS}/{issued['id']}")).status_code == 204
            assert (await made.ask("GET", "/api/v1/me", bearer)).status_code == 401
            assert (await browser.ask("DELETE", f"{TOKENS}/{issued['id']}")).status_code == 404
            [created], [revoked] = made.said("token.create"), made.said("token.revoke")
            assert created.target == revoked.target == issued["id"]
            assert issued["token"] not in str(made.lines.events)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"ttl_seconds": 86_401}, "ttl_seconds"),
        ({"ttl_seconds": 59}, "ttl_seconds"),
        ({"ttl_seconds": "600"}, "ttl_seconds"),
        ({"role": "king"}, "role"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": ["audit:read"], "role": "viewer"}, "scopes"),
        ({"user": "usr_nobody"}, "user"),
        ({"scope": []}, "scope"),
    ],
)
def test_a_token_that_cannot_be(tmp_path: Path, body: dict[str, object], field: str) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            told = {"user": made.made["owner"]} | body
            wrong = await made.operate("POST", TOKENS, json=told)
            assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, field)

    asyncio.run(run())


def test_one_sees_ones_own_tokens_unless_one_may_see_all(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            member, owner = await made.user("member"), made.made["owner"]
            bearers = [await made.bearer(member), await made.bearer(owner)]

            async def seen(bearer: dict[str, str]) -> set[str]:
                return {each["user"] for each in (await made.ask("GET", TOKENS, bearer)).json()["items"]}

            assert [await seen(bearer) for bearer in bearers] == [{member}, {member, owner}]
            items = (await made.ask("GET", TOKENS, bearers[1])).json()["items"]
            [theirs] = [each["id"] for each in items if each["user"] == owner]
            assert (await made.ask("DELETE", f"{TOKENS}/{theirs}", bearers[0])).status_code == 404
            with_role = await made.operate("POST", TOKENS, json={"user": member, "role": "admin"})
            assert (with_role.status_code, with_role.json()["errors"][0]["field"]) == (400, "role")
            browser = Browser(made)
            await browser.log_in()
            assert (await browser.ask("POST", TOKENS, json={"user": member})).status_code == 403

    asyncio.run(run())


def test_the_operator_makes_and_disables_tenants(place: Path) -> None:
    async def run() -> None:
        async with house(place) as made:
            new = {"name": "Acme", "owner_email": "boss@acme.example"}
            answered = (await made.operate("POST", "/api/v1/tenants", json=new)).json()
            tenant, boss = answered["tenant"]["id"], Browser(made)
            assert (await made.operate("POST", "/api/v1/tenants", json=new | {"name": "ACME"})).status_code == 400
            taken = {"invitation": answered["invitation"], "password": PASSWORD}
            me = (await boss.ask("POST", "/api/v1/invitation", json=taken)).json()
            assert (me["tenant"], me["tenant_name"], me["role"]) == (tenant, "Acme", "owner")
            assert (await boss.ask("GET", "/api/v1/tenants")).status_code == 403
            names = {each["name"] for each in (await made.operate("GET", "/api/v1/tenants")).json()["items"]}
            assert names == {"default", "Acme"}
            off = await made.operate("PATCH", f"/api/v1/tenants/{tenant}", json={"disabled": True})
            assert off.json()["disabled"] is True
            assert (await boss.ask("GET", "/api/v1/me")).status_code == 401
            assert (await boss.log_in("boss@acme.example")).status_code == 401
            assert (await made.operate("PATCH", "/api/v1/tenants/ten_x", json={"disabled": True})).status_code == 404

    asyncio.run(run())


def test_secrets_are_shown_once_and_stand_nowhere(tmp_path: Path) -> None:
    """Passwords, invitations and tokens: not in events, not in lists, not in errors."""

    async def run() -> None:
        async with house(tmp_path) as made:
            browser = Browser(made)
            await browser.log_in()
            [cookie] = browser.cookies.values()
            invited = (await browser.ask("POST", USERS, json={"email": "i@example.com", "role": "viewer"})).json()
            token = (await browser.ask("POST", TOKENS, json={})).json()["token"]
            planted = (PASSWORD, cookie, invited["invitation"].rpartition(".")[2], token, "Planted-Password-7")
            said = [await browser.ask("POST", "/api/v1/session", json={"email": "x", "password": planted[-1]})]
            said += [await browser.ask("GET", path) for path in (USERS, TOKENS, "/api/v1/me", "/api/v1/session")]
            everything = "".join([each.text for each in said]) + str(made.lines.events)
            assert not [secret for secret in planted if secret in everything]
            assert repr(made.accounts).count(made.accounts.local_token.hex()) == 0
            assert "local_token" not in repr(made.accounts)

    asyncio.run(run())


def test_the_secret_of_tokens_is_ours_alone(tmp_path: Path) -> None:
    """A token of another gateway, with the same id in our directory."""

    async def run(made: House) -> None:
        bearer = await made.bearer(made.made["owner"])
        text = bearer["authorization"].removeprefix("Bearer ")
        told = made.accounts.tokens.verify(text, time.time())
        forged = PlatformTokens(b"another gateway's secret, 32 byte").issue(told).text
        assert (await made.ask("GET", "/api/v1/me", {"authorization": f"Bearer {forged}"})).status_code == 401
        moved = await made.tenant()
        other = made.accounts.tokens.issue(replace(told, tenant=moved))
        assert (await made.ask("GET", "/api/v1/me", {"authorization": f"Bearer {other.text}"})).status_code == 401
        assert ids.DEFAULT != moved

    async def housed() -> None:
        async with house(tmp_path) as made:
            await run(made)

    asyncio.run(housed())
