"""Who asks: callers on this machine, until there are accounts; and whether they still do, while an answer lasts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.requests import HTTPConnection

from gatehouse.control.caller import SCOPE
from gatehouse.control.recognition import Recognition
from tests.control.doors import ELSEWHERE, URL, Browser, House, house
from tests.control.serving import api

PATHS = ("/api/v1/traces", "/api/v1/traces/x", "/api/v1/openapi.json", "/api/v1/nothing", "/", "/health/", "//health")


def test_callers_elsewhere_and_strangers_on_the_socket_are_refused(tmp_path: Path) -> None:
    """Whatever the path; without the worker's header there is no caller at all."""
    strangers: list[list[tuple[str, str]]] = [
        [("x-gatehouse-peer", "203.0.113.9")],
        [("x-gatehouse-peer", "")],
        [("x-gatehouse-peer", "127.0.0.1"), ("x-gatehouse-peer", "127.0.0.1")],
        [("x-gatehouse-peer", "127.0.0.1"), ("X-Gatehouse-Peer", "203.0.113.9")],
        [("x-forwarded-for", "127.0.0.1")],
        [("host", "localhost")],
        [],
    ]

    async def run() -> None:
        async with api(tmp_path) as client:
            client.headers.pop("x-gatehouse-peer")
            for headers in strangers:
                for path in PATHS:
                    response = await client.get(path, headers=headers)
                    assert response.status_code == 403, (headers, path)
                    body = response.json()
                    assert set(body) == {"detail", "code", "retry_after", "errors"}
                    assert body["code"] == "FORBIDDEN"
            assert (await client.get("/health")).status_code == 403
            assert (await client.get("/health", headers=strangers[0])).status_code == 200

    asyncio.run(run())


async def _asking(made: House, **headers: str) -> tuple[Recognition, HTTPConnection]:
    """A request as the gate leaves it to a handler."""
    told = {"x-gatehouse-peer": ELSEWHERE, "x-gatehouse-base": URL, **headers}
    raw = [(name.encode(), value.encode()) for name, value in told.items()]
    request = HTTPConnection({"type": "http", "headers": raw, "query_string": b""})
    recognition = Recognition(made.accounts)
    request.scope[SCOPE] = (await recognition.of(request)).caller
    assert await recognition.still(request)
    return recognition, request


def test_whoever_listens_is_asked_for_again(tmp_path: Path) -> None:
    """What was revoked, disabled or taken away meanwhile does not count on, however long an answer lasts."""

    async def run() -> None:
        async with house(tmp_path) as made:
            user = await made.user("admin")
            bearer = await made.bearer(user)
            key = (await made.operate("POST", "/api/v1/keys", json={"role": "viewer", "user": None})).json()
            browser = Browser(made)
            await browser.log_in()
            cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
            by_token = await _asking(made, **bearer)
            by_key = await _asking(made, authorization=f"Bearer {key['key']}")
            by_session = await _asking(made, cookie=cookie)
            await made.operate("PATCH", f"/api/v1/users/{user}", json={"role": "viewer"})
            assert not await by_token[0].still(by_token[1])
            again = await _asking(made, **bearer)
            await made.operate("DELETE", f"/api/v1/users/{user}/sessions")
            assert not await again[0].still(again[1])
            await made.operate("PATCH", f"/api/v1/keys/{key['id']}", json={"disabled": True})
            assert not await by_key[0].still(by_key[1])
            await browser.ask("DELETE", "/api/v1/session")
            assert not await by_session[0].still(by_session[1])

    asyncio.run(run())
