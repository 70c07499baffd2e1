"""Coming in and going out: set-up, log-in, sessions, invitations."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.requests import HTTPConnection

from gatehouse.auth import sessions
from gatehouse.auth.throttle import ACCOUNT
from gatehouse.config import founding
from gatehouse.config.paths import write_private
from gatehouse.control.cookies import Origins
from gatehouse.control.founding import LOST, at_odds
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import SessionFilter, UserChange
from tests.control.doors import ELSEWHERE, OWNER, PASSWORD, URL, Browser, House, event, house

COOKIE = "__Host-gatehouse_session"
NEW = "another good password"


async def _standing(made: House, cookie: str) -> tuple[str, sessions.Standing]:
    found = await made.accounts.administration.operator.session(sessions.digest_of(cookie) or b"")
    assert found is not None
    return found.holder.id, found.standing


async def _aged(made: House, cookie: str, **changed: Any) -> None:
    """The session as it will stand after a while."""
    name, standing = await _standing(made, cookie)
    directory = made.accounts.administration.tenant(ids.DEFAULT)
    assert await directory.rotate_session(name, standing, replace(standing, **changed))


def test_the_set_up_token_makes_the_first_owner_once(tmp_path: Path) -> None:

    async def run() -> None:
        async with house(tmp_path, founded=False, enabled=False) as made:
            token = founding.offer(made.data, time.time())
            body = {"token": token, "email": OWNER, "password": PASSWORD}
            assert (await made.ask("GET", "/api/v1/setup")).json()["needed"] is True
            wrong = await made.ask("POST", "/api/v1/setup", json=body | {"token": token[:-1]})
            assert (wrong.status_code, wrong.json()["code"]) == (401, "UNAUTHORIZED")
            short = await made.ask("POST", "/api/v1/setup", json=body | {"password": "short"})
            assert (short.status_code, short.json()["errors"][0]["field"]) == (400, "password")
            done = await made.ask("POST", "/api/v1/setup", json=body)
            assert done.status_code == 201
            assert (done.json()["tenant"], done.json()["project"], done.json()["restart"]) == (
                "default",
                "default",
                True,
            )
            assert made.data.accounts.stat().st_mode & 0o777 == 0o600
            assert not made.data.setup.exists()
            assert (await made.ask("POST", "/api/v1/setup", json=body)).status_code == 401
            again = body | {"token": founding.offer(made.data, time.time())}
            assert (await made.ask("POST", "/api/v1/setup", json=again)).status_code == 403
            assert (await made.ask("GET", "/api/v1/setup")).json()["needed"] is False
            assert [each.action for _, each in made.lines.events] == ["tenant.create", "project.create", "user.create"]
            assert OWNER not in str(made.lines.events)

    asyncio.run(run())


def test_a_directory_that_was_lost_gets_no_new_owner(tmp_path: Path) -> None:
    """The set-up token exists only while there is no owner, and here there was one. I7: it is said."""

    async def run() -> None:
        async with house(tmp_path, founded=False) as made:
            token = founding.offer(made.data, time.time())
            write_private(made.data.accounts, b"")
            body = {"token": token, "email": OWNER, "password": PASSWORD}
            refused = await made.ask("POST", "/api/v1/setup", json=body)
            assert (refused.status_code, refused.json()["detail"]) == (403, LOST)
            shown = (await made.ask("GET", "/api/v1/setup")).json()
            assert (shown["needed"], shown["detail"]) == (False, LOST)
            assert (await made.ask("GET", "/api/v1/session")).json()["setup"] is False
            operator = made.accounts.administration.operator
            assert await at_odds(operator, made.data, enabled=True) == LOST

    asyncio.run(run())


def test_a_restored_directory_turns_accounts_on_again(tmp_path: Path) -> None:
    """I7: what was left out of a copy is made again, and it is said that accounts were off."""

    async def run() -> None:
        async with house(tmp_path) as made:
            operator = made.accounts.administration.operator
            made.data.accounts.unlink(missing_ok=True)
            said = await at_odds(operator, made.data, enabled=False)
            assert said is not None and "auth.enabled" in said and made.data.accounts.exists()
            assert await at_odds(operator, made.data, enabled=False) is None

    asyncio.run(run())


def test_the_set_up_token_expires(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path, founded=False) as made:
            token = founding.offer(made.data, time.time() - founding.OFFERED_SECONDS)
            body = {"token": token, "email": OWNER, "password": PASSWORD}
            assert (await made.ask("POST", "/api/v1/setup", json=body)).status_code == 401
            assert token.encode() not in made.data.setup.read_bytes()
            made.data.setup.chmod(0o644)
            assert not founding.offered(made.data, token, 0)
            write_private(made.data.setup, b"{}")
            assert not founding.offered(made.data, token, 0)

    asyncio.run(run())


def test_a_log_in_begins_a_session_and_a_log_out_ends_it(place: Path) -> None:
    async def run() -> None:
        async with house(place) as made:
            browser = Browser(made)
            assert (await browser.ask("GET", "/api/v1/session")).json() == {
                "signed_in": False, "password": True, "sso": False, "setup": False,
            }  # fmt: skip
            done = await browser.log_in()
            assert done.status_code == 201
            me = done.json()
            assert (me["kind"], me["email"], me["role"], me["tenant_name"]) == ("user", OWNER, "owner", "default")
            assert "tenant:manage" in me["permissions"]
            [line] = done.headers.get_list("set-cookie")
            assert line.startswith(f"{COOKIE}=")
            assert {"HttpOnly", "SameSite=Strict", "Secure", "Path=/"} <= set(line.split("; "))
            assert (await browser.ask("GET", "/api/v1/me")).json() == me
            cookie = browser.cookies[COOKIE]
            assert (await browser.ask("DELETE", "/api/v1/session")).status_code == 204
            assert browser.cookies == {}
            assert (await browser.ask("GET", "/api/v1/me")).status_code == 401
            browser.cookies[COOKIE] = cookie
            over = await browser.ask("GET", "/api/v1/me")
            assert (over.status_code, browser.cookies) == (401, {})
            [login], [logout] = made.said("auth.login"), made.said("auth.logout")
            assert (login.actor_kind, login.actor, login.target) == ("user", made.made["owner"], logout.target)

    asyncio.run(run())


def test_over_plain_http_the_cookie_is_not_secure(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            base = "http://127.0.0.1:8080"
            body = {"email": OWNER, "password": PASSWORD}
            headers = {"origin": base, "x-gatehouse-base": base}
            done = await made.ask("POST", "/api/v1/session", headers, json=body)
            [line] = done.headers.get_list("set-cookie")
            assert line.startswith("gatehouse_session=") and "Secure" not in line
            cookie = {"cookie": line.partition(";")[0]}
            made.client.cookies.clear()
            assert (await made.ask("GET", "/api/v1/me", {"x-gatehouse-base": base, **cookie})).status_code == 200
            # Over https anybody on a neighbouring host could have set it; also where a proxy in front ends it.
            assert (await made.ask("GET", "/api/v1/me", cookie)).status_code == 401
            behind = Origins(URL)
            told = [(b"cookie", cookie["cookie"].encode())]
            for came_by, counts in ((URL.replace("https", "http"), False), (f"{URL}:443", False), (base, True)):
                came = [*told, (b"x-gatehouse-base", came_by.encode())]
                request = HTTPConnection({"type": "http", "headers": came})
                assert (behind.cookie(request, "gatehouse_session") is not None) == counts, came_by

    asyncio.run(run())


def test_whoever_is_wrong_learns_nothing_and_waits(tmp_path: Path) -> None:
    """Throttled by account and by address; each failure is on record without the address of anybody."""

    async def run() -> None:
        async with house(tmp_path, clock=lambda: 0.0) as made:
            answers = []
            for email in (OWNER, "nobody@example.com"):
                for number in range(ACCOUNT.free + 1):
                    browser = Browser(made, address=f"203.0.113.{number}")
                    answers.append(await browser.log_in(email, "wrong wrong wrong"))
            tried, waiting = answers[: ACCOUNT.free], answers[ACCOUNT.free]
            assert {each.status_code for each in tried} == {401}
            assert (waiting.status_code, waiting.json()["code"], waiting.headers["retry-after"]) == (
                429,
                "RATE_LIMITED",
                "1",
            )
            assert [each.json() for each in answers[ACCOUNT.free + 1 :]] == [each.json() for each in tried] + [
                waiting.json()
            ]
            # The right password waits too, and another account from elsewhere does not.
            assert (await Browser(made, address="198.51.100.1").log_in()).status_code == 429
            failed = made.said("auth.failed")
            assert [each.target for each in failed] == [made.made["owner"]] * ACCOUNT.free + [""] * ACCOUNT.free
            assert "example.com" not in str(made.lines.events) and "203.0.113" not in str(made.lines.events)

    asyncio.run(run())


def test_sessions_cannot_be_fixed_and_are_rotated(place: Path) -> None:
    async def run() -> None:
        async with house(place) as made:
            browser = Browser(made)
            browser.cookies[COOKIE] = planted = "A" * 43
            assert (await browser.log_in()).status_code == 201
            first = browser.cookies[COOKIE]
            assert first != planted
            await browser.log_in()
            second = browser.cookies[COOKIE]
            assert second != first  # and the session before has ended
            found = await made.accounts.administration.tenant(ids.DEFAULT).sessions(SessionFilter(), 10)
            assert len(found.items) == 1
            now = int(time.time())
            await _aged(made, second, rotated=now - sessions.ROTATED, seen=now - 1)
            assert (await browser.ask("GET", "/api/v1/me")).status_code == 200
            third = browser.cookies[COOKIE]
            assert third != second
            for cookie in (second, third):  # requests under way still come with the one before
                browser.cookies[COOKIE] = cookie
                assert (await browser.ask("GET", "/api/v1/me")).status_code == 200
            await _aged(made, third, rotated=now - sessions.OVERLAP - 1)
            browser.cookies[COOKIE] = second
            assert (await browser.ask("GET", "/api/v1/me")).status_code == 401
            browser.cookies[COOKIE] = third
            assert (await browser.ask("GET", "/api/v1/me")).status_code == 401
            [stolen] = made.said("session.stolen")
            assert stolen.actor_kind == "system"

    asyncio.run(run())


def test_a_change_of_role_counts_at_once_and_brings_another_token(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            await made.user("owner")
            browser = Browser(made)
            await browser.log_in()
            cookie = browser.cookies[COOKIE]
            directory = made.accounts.administration.tenant(ids.DEFAULT)
            await directory.update_user(made.made["owner"], UserChange(role="viewer"), event("user.update", "x"))
            assert (await browser.ask("GET", "/api/v1/users")).status_code == 403
            assert browser.cookies[COOKIE] != cookie
            assert (await browser.ask("GET", "/api/v1/me")).json()["role"] == "viewer"
            browser.cookies[COOKIE] = cookie
            assert (await browser.ask("GET", "/api/v1/me")).status_code == 401

    asyncio.run(run())


def test_a_session_ends_by_itself(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            for changed in ({"seen": -sessions.IDLE}, {"began": -sessions.ABSOLUTE}):
                browser = Browser(made)
                await browser.log_in()
                [(field, ago)] = changed.items()
                await _aged(made, browser.cookies[COOKIE], **{field: int(time.time()) + ago})
                assert (await browser.ask("GET", "/api/v1/me")).status_code == 401

    asyncio.run(run())


def test_other_pages_change_nothing(tmp_path: Path) -> None:
    """A session's unsafe methods need our own Origin; so does a log-in."""

    async def run() -> None:
        async with house(tmp_path, public_url="https://public.example/gateway") as made:
            browser = Browser(made)
            await browser.log_in()
            new = {"email": "a@example.com", "role": "viewer"}
            for origin in ("https://evil.example", "null", "http://gateway.example", f"{URL}:8443", "", URL + ".evil"):
                refused = await browser.ask("POST", "/api/v1/users", headers={"origin": origin}, json=new)
                assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN"), origin
                assert (await Browser(made, origin=origin).log_in()).status_code == 403, origin
            cookie = {"cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
            for headers in (cookie, cookie | {"origin": URL, "Origin": URL}):
                assert (await made.ask("GET", "/api/v1/me", headers)).status_code == 200
            assert (await made.ask("POST", "/api/v1/users", cookie, json=new)).status_code == 403
            for number, origin in enumerate((URL, "https://gateway.example:443", "https://public.example")):
                told = new | {"email": f"{number}@example.com"}
                assert (
                    await browser.ask("POST", "/api/v1/users", headers={"origin": origin}, json=told)
                ).status_code == 201

    asyncio.run(run())


def test_a_cookie_there_twice_is_none(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            browser = Browser(made)
            await browser.log_in()
            value = f"{COOKIE}={browser.cookies[COOKIE]}"
            assert (await made.ask("GET", "/api/v1/me", {"cookie": f"a=b; {value}"})).status_code == 200
            assert (await made.ask("GET", "/api/v1/me", {"cookie": f"{value}; {COOKIE}=x"})).status_code == 401

    asyncio.run(run())


def test_a_password_is_changed_by_who_knows_it_and_ends_other_sessions(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            here, elsewhere = Browser(made), Browser(made)
            await here.log_in()
            await elsewhere.log_in()
            body = {"current": "wrong wrong wrong", "new": NEW}
            assert (await here.ask("PUT", "/api/v1/me/password", json=body)).status_code == 400
            weak = await here.ask("PUT", "/api/v1/me/password", json={"current": PASSWORD, "new": "aaaaaaaaaaaaaa"})
            assert (weak.status_code, weak.json()["errors"][0]["field"]) == (400, "new")
            done = await here.ask("PUT", "/api/v1/me/password", json={"current": PASSWORD, "new": NEW})
            assert done.status_code == 201
            assert (await here.ask("GET", "/api/v1/me")).status_code == 200
            assert (await elsewhere.ask("GET", "/api/v1/me")).status_code == 401
            assert (await elsewhere.log_in()).status_code == 401
            assert (await elsewhere.log_in(password=NEW)).status_code == 201

    asyncio.run(run())


def test_an_invitation_is_taken_up_once(place: Path) -> None:
    async def run() -> None:
        async with house(place) as made:
            owner = Browser(made)
            await owner.log_in()
            new = {"email": "Ada@Example.com", "role": "developer", "name": "Ada"}
            invited = (await owner.ask("POST", "/api/v1/users", json=new)).json()
            user, invitation = invited["user"], invited["invitation"]
            assert (user["has_password"], user["role"]) == (False, "developer")
            assert (await Browser(made).log_in(new["email"], invitation)).status_code == 401
            again = (await owner.ask("POST", f"/api/v1/users/{user['id']}/invitation")).json()["invitation"]
            for wrong in (invitation, again[:-1] + "!", "x", again.replace(user["id"], made.made["owner"])):
                told = {"invitation": wrong, "password": NEW}
                assert (await Browser(made).ask("POST", "/api/v1/invitation", json=told)).status_code == 401
            ada = Browser(made)
            done = await ada.ask("POST", "/api/v1/invitation", json={"invitation": again, "password": NEW})
            assert (done.status_code, done.json()["role"]) == (201, "developer")
            assert (await ada.ask("GET", "/api/v1/me")).json()["user"] == user["id"]
            told = {"invitation": again, "password": "a third good password"}
            assert (await Browser(made).ask("POST", "/api/v1/invitation", json=told)).status_code == 401
            assert (await Browser(made).log_in("ada@example.com", NEW)).status_code == 201

    asyncio.run(run())


def test_an_address_in_two_tenants_names_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            other = await made.tenant()
            hashed = await made.accounts.hashing.hash("password", PASSWORD)
            change, told = UserChange(password_hash=hashed), event("user.password", made.made["other owner"])
            await made.accounts.administration.tenant(other).update_user(made.made["other owner"], change, told)
            which = await made.log_in()
            assert (which.status_code, which.json()["errors"][0]["field"]) == (400, "tenant")
            for tenant in (ids.DEFAULT, other):
                assert (await made.log_in(tenant=tenant)).json()["tenant"] == tenant
                made.client.cookies.clear()
            assert (await made.log_in(tenant="ten_nobody")).status_code == 401

    asyncio.run(run())


def test_without_auth_nobody_signs_in_and_this_machine_reads(tmp_path: Path) -> None:
    """Loopback is no credential; writes need the local token."""

    async def run() -> None:
        async with house(tmp_path, enabled=False) as made:
            refused = await made.log_in()
            assert refused.status_code == 403
            assert "auth.enabled" in refused.json()["detail"]
            me = (await made.ask("GET", "/api/v1/me", peer="127.0.0.1")).json()
            assert (me["kind"], me["permissions"]) == ("local", ["analytics:read", "export:read", "traces:read"])
            assert (await made.ask("GET", "/api/v1/users", peer="127.0.0.1")).status_code == 403
            assert (await made.ask("GET", "/api/v1/me", peer=ELSEWHERE)).status_code == 403
            assert (await made.operate("GET", "/api/v1/users")).status_code == 200

    asyncio.run(run())


def test_what_anybody_may_send_is_small(tmp_path: Path) -> None:
    """Who is nobody does not keep the control plane busy with megabytes that are no log-in."""

    async def run() -> None:
        async with house(tmp_path) as made:
            headers = {"origin": URL, "content-type": "application/json"}
            for path in ("session", "setup", "invitation", "sso/token"):
                answered = await made.ask("POST", f"/api/v1/{path}", headers, content=b"[" * 20_000)
                assert (answered.status_code, answered.json()["code"]) == (413, "TOO_LARGE")
            answered = await made.ask("POST", "/api/v1/session", headers, content=b"[" * 10_000)
            assert "nested too deeply" in answered.json()["errors"][0]["message"]
            many = {f"field{number}": 1 for number in range(1_000)}
            refused = (await made.operate("POST", "/api/v1/projects", json=many)).json()
            assert len(refused["errors"]) == 51 and refused["errors"][50]["message"] == "951 more are wrong"

    asyncio.run(run())


def test_a_body_that_is_not_called_json_is_told_so(tmp_path: Path) -> None:
    """As curl sends one by itself."""

    async def run() -> None:
        async with house(tmp_path, founded=False) as made:
            headers = {"origin": URL, "content-type": "application/x-www-form-urlencoded"}
            answered = await made.ask("POST", "/api/v1/session", headers, content='{"email": "a@b", "password": "x"}')
            assert (answered.status_code, answered.json()["detail"]) == (
                400,
                "body: is JSON, with `content-type: application/json`",
            )

    asyncio.run(run())


@pytest.mark.parametrize("body", ["", "x", "[]", "{}", '{"email": 1, "password": []}', '{"email": "a@b", "x": 1}'])
def test_wrong_input_is_a_400_that_repeats_nothing(tmp_path: Path, body: str) -> None:
    async def run() -> None:
        async with house(tmp_path, founded=False) as made:
            headers = {"origin": URL, "content-type": "application/json"}
            answered = await made.ask("POST", "/api/v1/session", headers, content=body)
            assert answered.status_code == 400
            assert msgspec.json.decode(answered.content)["errors"]

    asyncio.run(run())
