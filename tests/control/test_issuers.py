"""Issuers of identity tokens, and how their keys are kept: `/api/v1/issuers` (D2)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gatehouse.config.settings import Callouts
from gatehouse.control.keysets import FRESH_SECONDS, PAUSE_SECONDS, KeySets
from tests.control.administered import Administered, administered, run
from tests.control.places import Asked, answer, place

_KEYS = {"keys": [{"kty": "EC", "crv": "P-256", "kid": "one", "x": "AA", "y": "AA"}]}


def test_keys_are_discovered_fetched_and_refreshed(tmp_path: Path) -> None:
    served: dict[str, Any] = {"/keys": _KEYS}

    def reply(asked: Asked) -> bytes:
        found = served.get(asked.target)
        return answer(404, {}) if found is None else answer(200, found)

    async def test() -> None:
        async with place(reply) as sso, administered(tmp_path, callouts=Callouts(private=(sso.url,))) as api:
            well_known = "/.well-known/openid-configuration"
            served[well_known] = {"issuer": sso.url, "jwks_uri": f"{sso.url}/keys"}
            made = await api.ask("POST", "/issuers", {"issuer": sso.url, "audience": "gate"}, 201)
            assert made["keys_at"] is not None and made["algorithms"] == ["RS256", "ES256"]
            operator = api.house.accounts.administration.operator
            entry = (await operator.sections()).issuers[made["id"]]
            assert b'"kid":"one"' in entry.jwks
            # A discovery document of somebody else is not believed, and changes nothing.
            served[well_known] = {"issuer": "https://else.example", "jwks_uri": f"{sso.url}/keys"}
            await api.ask("POST", f"/issuers/{made['id']}/refresh", None, 502)
            assert (await operator.sections()).issuers[made["id"]] == entry
            # With a URL of its own nothing is discovered.
            changed = await api.ask("PATCH", f"/issuers/{made['id']}", {"jwks_url": f"{sso.url}/keys"})
            assert changed["jwks_url"] == f"{sso.url}/keys"
            assert (await api.ask("POST", f"/issuers/{made['id']}/refresh"))["id"] == made["id"]
            await api.ask("DELETE", f"/issuers/{made['id']}", None, 204)
            assert (await operator.sections()).issuers == {}

    asyncio.run(test())


def test_a_wanted_key_is_asked_for_but_not_all_the_time(tmp_path: Path) -> None:
    status = [200]

    def reply(_asked: Asked) -> bytes:
        return answer(status[0], _KEYS)

    async def test() -> None:
        async with place(reply) as sso, administered(tmp_path, callouts=Callouts(private=(sso.url,))) as api:
            body = {"issuer": sso.url, "audience": "gate", "jwks_url": f"{sso.url}/keys"}
            made = await api.ask("POST", "/issuers", body, 201)
            clock = [float(2_000_000_000)]
            key_sets = KeySets(api.house.accounts.administration, now=lambda: clock[0])
            await key_sets.look()
            assert len(sso.asked) == 2  # by that clock it is old
            for expected, later, wanted in ((2, 1, True), (3, PAUSE_SECONDS, True), (3, PAUSE_SECONDS, False)):
                clock[0] += later
                if wanted:
                    key_sets.want((made["id"],))
                await key_sets.look()
                assert len(sso.asked) >= expected
            status[0] = 500
            for _ in range(4):
                clock[0] += FRESH_SECONDS
                await key_sets.look()
            assert len(api.house.said("issuer.keys_failed")) == 1

    asyncio.run(test())


def test_wrong_input_is_named(tmp_path: Path) -> None:
    async def test(api: Administered) -> None:
        issuer = {"issuer": "https://sso.invalid.example", "audience": "gate"}
        for changed, fields in (
            ({"algorithms": ["HS256"]}, {"algorithms[0]"}),
            ({"algorithms": []}, {"algorithms"}),
            ({"scopes": ["everything"]}, {"scopes"}),
            ({"issuer": "gatehouse-platform"}, {"issuer"}),
            ({"jwks_url": "ftp://x"}, {"jwks_url"}),
            ({"project": "prj_nothing"}, {"project"}),
        ):
            assert await api.problem("POST", "/issuers", {**issuer, **changed}) == fields
        made = await api.ask("POST", "/issuers", issuer, 201)
        assert made["keys_at"] is None
        await api.ask("POST", "/issuers", issuer, 400)
        assert await api.problem("PATCH", f"/issuers/{made['id']}", {"issuer": "https://x.example"}) == {"issuer"}
        admin = await api.house.bearer(await api.house.user("admin"))
        await api.ask("POST", "/issuers", issuer, 403, headers=admin)

    run(tmp_path, test)
