"""Signing in by OpenID Connect, with a real provider: who comes in, as what, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import msgspec
import pytest

from gatehouse.auth.throttle import ADDRESS
from gatehouse.config.settings import Callouts, Sso, SsoRole
from gatehouse.control import oidc
from gatehouse.control.sso import EACH
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import UserChange, UserFilter
from tests.control import sign_on
from tests.control.doors import URL, Browser, House, event, house

pytestmark = sign_on.needed
ROLES = (SsoRole(value="admins", role="admin"), SsoRole(value="engineering", role="developer"))
VERIFIER = "v" * 43


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with sign_on.provider() as running:
        yield running


def _settings(issuer: str, client: str = "gatehouse") -> Sso:
    return Sso(issuer=issuer, client_id=client, scopes=("openid", "email", "profile", "groups"), roles=ROLES)


@asynccontextmanager
async def _house(place: Path, issuer: str, sso: Sso | None = None) -> AsyncIterator[House]:
    private = Callouts(private=(issuer,))
    async with house(place, sso=sso or _settings(issuer), callouts=private, public_url=URL) as made:
        yield made


async def _back(browser: Browser, who: str, query: str = "") -> httpx2.Response:
    """The browser goes to the provider and comes back as somebody."""
    start = await browser.ask("GET", f"/api/v1/sso/start{query}")
    assert start.status_code == 302, start.text
    back = await asyncio.to_thread(sign_on.logged_in, start.headers["location"], who)
    return await browser.ask("GET", sign_on.path_of(back))


async def _users(made: House, email: str) -> list[str]:
    found = await made.accounts.administration.tenant(ids.DEFAULT).users(UserFilter(email=email), 10)
    return [each.id for each in found.items]


def test_whose_claims_give_a_role_comes_in_and_is_the_same_next_time(tmp_path: Path, issuer: str) -> None:
    """Roles follow from claims of the userinfo endpoint here; users are known by (iss, sub)."""

    async def run() -> None:
        async with _house(tmp_path, issuer) as made:
            browser = Browser(made)
            assert (await browser.ask("GET", "/api/v1/session")).json()["sso"] is True
            back = await _back(browser, "ada", "?next=/ui/keys")
            assert (back.status_code, back.headers["location"]) == (303, "/ui/keys")
            me = (await browser.ask("GET", "/api/v1/me")).json()
            assert (me["role"], me["email"], me["name"]) == ("developer", "ada@corp.example", "Ada")
            assert list(browser.cookies) == ["__Host-gatehouse_session"]
            again = Browser(made)
            await _back(again, "ada")
            assert (await again.ask("GET", "/api/v1/me")).json()["user"] == me["user"]
            assert [each.details["sso"] for each in made.said("user.create")[1:]] == [msgspec.Raw(b"true")]
            assert len(made.said("auth.login")) == 2
            assert "corp.example" not in str(made.lines.events)

    asyncio.run(run())


def test_all_claims_in_the_id_token_of_a_public_client(tmp_path: Path) -> None:
    async def run(issuer: str) -> None:
        async with house(
            tmp_path, sso=_settings(issuer, "all-in-the-token"), callouts=Callouts(private=(issuer,)), secret=None
        ) as made:
            browser = Browser(made)
            await _back(browser, "root")
            assert (await browser.ask("GET", "/api/v1/me")).json()["role"] == "admin"

    with sign_on.provider("all-in-the-token", None) as running:
        asyncio.run(run(running))


@pytest.mark.parametrize(("who", "why"), [("guest", "no role"), ("taken", "e-mail address"), ("nameless", "no role")])
def test_who_does_not_come_in(tmp_path: Path, issuer: str, who: str, why: str) -> None:
    """Never linked by e-mail; no role, no way in."""

    async def run() -> None:
        async with _house(tmp_path, issuer) as made:
            browser = Browser(made)
            back = await _back(browser, who)
            assert (back.status_code, why in back.json()["detail"]) == (403, True)
            assert browser.cookies.keys() <= {"__Host-gatehouse_sso"}
            assert not made.said("auth.login") and len(made.said("user.create")) == 1  # the owner
            [failed] = made.said("auth.failed")
            assert (failed.target, failed.details["method"]) == ("", msgspec.Raw(b'"sso"'))

    asyncio.run(run())


def test_the_role_is_asked_each_time(tmp_path: Path, issuer: str) -> None:
    async def run() -> None:
        async with _house(tmp_path, issuer) as made:
            browser = Browser(made)
            await _back(browser, "ada")
            [name] = await _users(made, "ada@corp.example")
            directory = made.accounts.administration.tenant(ids.DEFAULT)
            await directory.update_user(name, UserChange(role="owner"), event("user.update", name))
            await _back(browser, "ada")
            assert (await browser.ask("GET", "/api/v1/me")).json()["role"] == "developer"
            await directory.update_user(name, UserChange(disabled=True), event("user.update", name))
            assert (await _back(browser, "ada")).status_code == 403

    asyncio.run(run())


def test_a_log_in_belongs_to_its_browser_and_counts_once(tmp_path: Path, issuer: str) -> None:
    async def run() -> None:
        async with _house(tmp_path, issuer) as made:
            ours, other = Browser(made), Browser(made)
            start = await ours.ask("GET", "/api/v1/sso/start")
            back = sign_on.path_of(await asyncio.to_thread(sign_on.logged_in, start.headers["location"], "ada"))
            await other.ask("GET", "/api/v1/sso/start")
            assert (await other.ask("GET", back)).status_code == 400  # and with that it is over
            assert (await ours.ask("GET", back)).status_code == 400
            start = await ours.ask("GET", "/api/v1/sso/start")
            back = sign_on.path_of(await asyncio.to_thread(sign_on.logged_in, start.headers["location"], "ada"))
            elsewhere = back.replace("iss=", "iss=https%3A%2F%2Fevil.example%2F&x=")
            assert (await ours.ask("GET", elsewhere)).status_code == 403
            for wrong in ("", "?state=x&code=y", "?error=access_denied"):
                assert (await ours.ask("GET", f"/api/v1/sso/callback{wrong}")).status_code == 400

    asyncio.run(run())


def test_what_is_asked_of_the_provider(tmp_path: Path, issuer: str) -> None:
    async def run() -> None:
        async with _house(tmp_path, issuer) as made:
            start = await Browser(made).ask("GET", "/api/v1/sso/start")
            asked = parse_qs(urlsplit(start.headers["location"]).query)
            assert asked["redirect_uri"] == [sign_on.CALLBACK]
            assert asked["code_challenge_method"] == ["S256"] and len(asked["code_challenge"][0]) == 43
            assert len(asked["nonce"][0]) == len(asked["state"][0]) == 43
            [line] = start.headers.get_list("set-cookie")
            assert {"HttpOnly", "SameSite=Lax", "Secure"} <= set(line.split("; "))
            for wrong in ("?next=//evil.example", "?next=https://evil.example", "?next=/%5Cevil.example", "?next=x"):
                assert (await Browser(made).ask("GET", f"/api/v1/sso/start{wrong}")).status_code == 400, wrong

    asyncio.run(run())


def test_a_program_gets_a_token_over_its_loopback_address(tmp_path: Path, issuer: str) -> None:
    """RFC 8252: what `gatehouse login` does."""

    async def run() -> None:
        async with _house(tmp_path, issuer) as made:
            challenge = oidc.challenge(VERIFIER)
            query = f"?redirect=http://127.0.0.1:4321/callback&challenge={challenge}&state=mine"
            browser = Browser(made)
            back = await _back(browser, "ada", query)
            target = urlsplit(back.headers["location"])
            assert (target.netloc, target.path) == ("127.0.0.1:4321", "/callback")
            given = parse_qs(target.query)
            assert given["state"] == ["mine"] and not browser.cookies
            body = {"code": given["code"][0], "verifier": VERIFIER, "ttl_seconds": 600, "role": "viewer"}
            token = await made.ask("POST", "/api/v1/sso/token", json=body)
            assert token.status_code == 201
            bearer = {"authorization": f"Bearer {token.json()['token']}"}
            assert (await made.ask("GET", "/api/v1/me", bearer)).json()["email"] == "ada@corp.example"
            assert (await made.ask("POST", "/api/v1/sso/token", json=body)).status_code == 401
            back = await _back(Browser(made), "ada", query)
            code = parse_qs(urlsplit(back.headers["location"]).query)["code"][0]
            wrong = body | {"code": code, "verifier": "w" * 43}
            assert (await made.ask("POST", "/api/v1/sso/token", json=wrong)).status_code == 401
            for redirect in (
                "http://evil.example:1/",
                "https://127.0.0.1:1/",
                "http://127.0.0.1:1/?x",
                "http://127.0.0.1/",
            ):
                told = f"?redirect={redirect}&challenge={challenge}"
                assert (await made.ask("GET", f"/api/v1/sso/start{told}")).status_code == 400
            alone = await made.ask("GET", "/api/v1/sso/start?redirect=http://127.0.0.1:1/")
            assert alone.status_code == 400

    asyncio.run(run())


async def _linking(browser: Browser) -> str:
    """Signed in here, signs in at the provider as well. Returns where that leads back to."""
    address = (await browser.ask("POST", "/api/v1/sso/link")).json()["location"]
    return await asyncio.to_thread(sign_on.logged_in, address, "guest")


def test_whoever_is_signed_in_links_themselves(tmp_path: Path, issuer: str) -> None:
    async def run() -> None:
        async with _house(tmp_path, issuer) as made:
            owner = Browser(made)
            await owner.log_in()
            back = await _linking(owner)
            assert (await owner.ask("GET", sign_on.path_of(back))).status_code == 303
            [linked] = made.said("user.link")
            assert linked.actor == made.made["owner"]
            assert (await owner.ask("GET", "/api/v1/me")).json()["role"] == "owner"
            assert (await Browser(made).ask("POST", "/api/v1/sso/link")).status_code == 401

    asyncio.run(run())


def test_whose_sessions_were_ended_leaves_no_link_behind(tmp_path: Path, issuer: str) -> None:
    """Whoever stole a session and began to link it stays out when its owner ends it."""

    async def run() -> None:
        async with _house(tmp_path, issuer) as made:
            thief = Browser(made)
            await thief.log_in()
            back = await _linking(thief)
            await made.operate("DELETE", f"/api/v1/users/{made.made['owner']}/sessions")
            assert (await thief.ask("GET", sign_on.path_of(back))).status_code == 401
            owner = await made.operate("GET", f"/api/v1/users/{made.made['owner']}")
            assert (owner.json()["issuer"], owner.json()["subject"]) == (None, None)
            assert not made.said("user.link")

    asyncio.run(run())


def test_a_provider_that_is_not_there_or_another(tmp_path: Path, issuer: str) -> None:
    async def run() -> None:
        for wrong, status in ((f"{issuer}/", 502), ("http://127.0.0.1:9", 502)):
            place = tmp_path / str(len(wrong))
            place.mkdir()
            async with house(place, sso=_settings(wrong), callouts=Callouts(private=(wrong.rstrip("/"),))) as made:
                answered = await Browser(made).ask("GET", "/api/v1/sso/start")
                assert answered.status_code == status
                assert "client-secret" not in answered.text
        async with house(tmp_path) as made:
            assert (await Browser(made).ask("GET", "/api/v1/sso/start")).status_code == 404

    asyncio.run(run())


def test_whoever_comes_back_with_nothing_has_to_wait(tmp_path: Path, issuer: str) -> None:
    """Each attempt asks the provider and is a line of the journal. Others, elsewhere, sign in meanwhile."""

    async def run() -> None:
        async with _house(tmp_path, issuer) as made:
            stranger = Browser(made)
            for count in range(ADDRESS.free + 1):
                start = await stranger.ask("GET", "/api/v1/sso/start")
                [state] = parse_qs(urlsplit(start.headers["location"]).query)["state"]
                back = await stranger.ask("GET", f"/api/v1/sso/callback?state={state}&code=none&iss={issuer}")
                assert back.status_code == (502 if count < ADDRESS.free else 429), back.text
            assert len(made.said("auth.failed")) == ADDRESS.free
            assert (await _back(Browser(made, address="198.51.100.7"), "ada")).status_code == 303

    asyncio.run(run())


def test_who_begins_many_log_ins_crowds_out_nobody_elses(tmp_path: Path, issuer: str) -> None:
    async def run() -> None:
        async with _house(tmp_path, issuer) as made:
            ours, other = Browser(made, address="192.0.2.1"), Browser(made, address="192.0.2.2")
            begun = [await browser.ask("GET", "/api/v1/sso/start") for browser in (ours, other)]
            flood = Browser(made, address="192.0.2.2")
            for _ in range(EACH):
                assert (await flood.ask("GET", "/api/v1/sso/start")).status_code == 302
            for browser, start, status in zip((ours, other), begun, (303, 400), strict=True):
                back = await asyncio.to_thread(sign_on.logged_in, start.headers["location"], "ada")
                assert (await browser.ask("GET", sign_on.path_of(back))).status_code == status

    asyncio.run(run())
