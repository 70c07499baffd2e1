"""Projects, credentials and what looks after them: `/api/v1/projects`, `/api/v1/credentials` (I3, P1, P3, D12)."""

from __future__ import annotations

import asyncio
import hmac
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from gatehouse.auth.secrets import ApiKey, Kept
from gatehouse.auth.vault import Binding
from gatehouse.config.settings import Callouts
from gatehouse.control.exchange import PLACES, Cloud
from gatehouse.control.upkeep import Upkeep
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import CredentialChange
from tests.control.administered import SECRET, Administered, administered, run
from tests.control.doors import event
from tests.control.places import Asked, answer, place

_ENTRA = {
    "directory_id": "contoso.example",
    "client_id": "0a1b2c3d",
    "client_secret": "planted-client-secret-1234",
}


async def _opened(api: Administered, credential: Any) -> Kept:
    administration = api.house.accounts.administration
    sealed = await administration.tenant(ids.DEFAULT).sealed(credential["id"])
    binding = Binding(ids.DEFAULT, credential["id"], credential["provider"], credential["origin"])
    return administration.means.vault.open(binding, sealed, (Kept,))


def test_a_secret_is_written_and_never_read_back(tmp_path: Path) -> None:
    """I3: bound to provider and origin, last four characters shown."""

    async def test(api: Administered) -> None:
        made = await api.credential()
        assert (made["origin"], made["last4"], made["kind"]) == ("https://api.openai.com", SECRET[-4:], "api_key")
        assert await _opened(api, made) == ApiKey(SECRET)
        again = "sk-planted-another-secret-9999"
        rotated = await api.ask("POST", f"/credentials/{made['id']}/rotate", {"secret": again})
        assert rotated["last4"] == "9999" and await _opened(api, made) == ApiKey(again)
        changed = await api.ask("PATCH", f"/credentials/{made['id']}", {"weight": 7, "name": "Other"})
        assert (changed["weight"], changed["hook_key"]) == (7, None)
        assert await api.problem("POST", "/credentials", {"name": "x", "provider": "openai", "secret": "a b"}) == {
            "secret"
        }
        await api.ask("GET", "/credentials?name=other")
        await api.ask("GET", f"/credentials/{made['id']}")
        await api.ask("DELETE", f"/credentials/{made['id']}", None, 204)
        for planted in (SECRET, again):
            assert not any(planted in each for each in api.answers)
            assert planted not in str(api.house.lines.events)

    run(tmp_path, test)


def test_the_origin_comes_from_the_provider_alone(tmp_path: Path) -> None:
    """I3, T4: for Azure with the resource."""

    async def test(api: Administered) -> None:
        azure = {"name": "azure", "provider": "azure", "secret": SECRET}
        made = await api.ask("POST", "/credentials", {**azure, "resource": "my-resource"}, 201)
        assert made["origin"] == "https://my-resource.openai.azure.com"
        for body, field in (
            (azure, "resource"),
            ({**azure, "resource": "a.example.com/"}, "resource"),
            ({**azure, "provider": "openai", "resource": "x"}, "resource"),
            ({**azure, "provider": "openai", "origin": "https://evil.example"}, "origin"),
            ({**azure, "provider": "nobody"}, "provider"),
            ({**azure, "provider": "simulated"}, "provider"),
            ({**azure, "provider": "openai", "kind": "aws_keys"}, "kind"),
            ({**azure, "provider": "openai", "exclusive": "prj_nothing"}, "exclusive"),
            ({**azure, "provider": "openai", "rotate_hook": "file:///etc/passwd"}, "rotate_hook"),
        ):
            assert await api.problem("POST", "/credentials", body) == {field}
        assert "azure" in (await api.ask("POST", "/credentials", {**azure, "resource": "my-resource"}, 400))["detail"]

    run(tmp_path, test)


def test_a_credential_is_of_one_region(tmp_path: Path) -> None:
    """I3, D11: that of the secret, or the one that is said; a new secret is for the same."""

    async def test(api: Administered) -> None:
        keys = {"access_key_id": "AKIDEXAMPLE012345678", "secret_access_key": SECRET, "region": "us-west-2"}
        body = {"name": "aws", "provider": "bedrock", "kind": "aws_keys", "secret": keys}
        made = await api.ask("POST", "/credentials", body, 201)
        assert made["origin"] == "https://bedrock-runtime.us-west-2.amazonaws.com"
        plain = {"name": "eu", "provider": "bedrock", "secret": SECRET}
        for wrong, field in (
            ({**body, "name": "b", "resource": "eu-west-1"}, "secret"),
            (plain, "resource"),
            ({**plain, "resource": "evil.example"}, "resource"),
            ({**plain, "provider": "vertex", "resource": "evil.example"}, "resource"),
        ):
            assert await api.problem("POST", "/credentials", wrong) == {field}
        path = f"/credentials/{made['id']}/rotate"
        assert await api.problem("POST", path, {"secret": {**keys, "region": "eu-west-1"}}) == {"secret"}
        await api.ask("POST", path, {"secret": {**keys, "access_key_id": "AKIDOTHER01234567890"}})
        made = await api.ask("POST", "/credentials", {**plain, "resource": "eu-central-1"}, 201)
        assert made["origin"] == "https://bedrock-runtime.eu-central-1.amazonaws.com"
        rotated = await api.ask("POST", f"/credentials/{made['id']}/rotate", {"secret": SECRET})
        assert rotated["settings"] == {"resource": "eu-central-1"}
        for number, (resource, host) in enumerate(
            (
                (None, "aiplatform.googleapis.com"),
                ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
                ("eu", "aiplatform.eu.rep.googleapis.com"),
            )
        ):
            vertex = {"name": f"v{number}", "provider": "vertex", "secret": SECRET, "resource": resource}
            assert (await api.ask("POST", "/credentials", vertex, 201))["origin"] == f"https://{host}"

    run(tmp_path, test)


def test_projects_and_their_providers(tmp_path: Path) -> None:
    """P2, P3: each provider of a project is bound to a credential."""

    async def test(api: Administered) -> None:
        project = await api.ask("POST", "/projects", {"name": "Shop", "environment": "prod", "team": "web"}, 201)
        assert len(project["uuid"]) == 36 and project["bindings"] == []
        assert "shop" in (await api.ask("POST", "/projects", {"name": "shop"}, 400))["detail"]
        credential = await api.credential(weight=3)
        path = f"/projects/{project['id']}/providers/openai/{credential['id']}"
        bound = await api.ask("PUT", path, {})
        assert bound["bindings"] == [{"provider": "openai", "credential": credential["id"], "weight": 3}]
        assert (await api.ask("PUT", path, {"weight": 5}))["bindings"][0]["weight"] == 5
        assert await api.problem("PUT", path.replace("openai", "anthropic"), {}) == {"credential"}
        assert await api.problem("PUT", path.replace("openai", "nobody"), {}) == {"provider"}
        await api.ask("DELETE", f"/credentials/{credential['id']}", None, 400)
        key = await api.ask("POST", "/keys", {"project": project["id"]}, 201)
        await api.ask("DELETE", f"/projects/{project['id']}", None, 400)
        assert (await api.ask("DELETE", f"/projects/{project['id']}/providers/openai"))["bindings"] == []
        await api.ask("DELETE", path, None, 404)
        await api.ask("DELETE", f"/keys/{key['id']}", None, 204)
        changed = await api.ask("PATCH", f"/projects/{project['id']}", {"own_keys": True, "disabled": True})
        assert (changed["own_keys"], changed["disabled"], changed["name"]) == (True, True, "Shop")
        assert await api.problem("PATCH", f"/projects/{project['id']}", {"name": ""}) == {"name"}
        waited = api.house.workers.awaited
        await api.ask("DELETE", f"/projects/{project['id']}", None, 204)
        assert api.house.workers.awaited == waited + 1
        told = [each.action for _, each in api.house.lines.events if each.target_kind == "project"]
        assert told[-5:] == ["project.enable", "project.enable", "project.disable", "project.update", "project.delete"]
        assert "Shop" not in str(api.house.lines.events)

    run(tmp_path, test)


def test_other_tenants_things_are_not_there(tmp_path: Path) -> None:
    """I6: 404 for what is another's, as for what is nobody's."""

    async def test(api: Administered) -> None:
        credential = await api.credential()
        limit = await api.ask(
            "POST", "/limits", {"scope": "tenant", "measure": "requests", "window": "day", "cap": 9}, 201
        )
        issuer = {"issuer": "https://sso.invalid.example", "audience": "gate"}
        made = await api.ask("POST", "/issuers", issuer, 201)
        other = await api.house.tenant()
        theirs = await api.house.bearer(api.house.made["other owner"], other)
        for path in (
            f"/credentials/{credential['id']}",
            f"/limits/{limit['id']}",
            f"/issuers/{made['id']}",
            "/projects/prj_00000000000000000000000000",
        ):
            for method, body in (("GET", None), ("PATCH", {}), ("DELETE", None)):
                await api.ask(method, path, body, 404, headers=theirs)
        await api.ask("POST", f"/credentials/{credential['id']}/test", None, 404, headers=theirs)
        await api.ask("POST", f"/credentials/{credential['id']}/rotate", {"secret": SECRET}, 404, headers=theirs)
        await api.ask("POST", f"/issuers/{made['id']}/refresh", None, 404, headers=theirs)
        project = api.house.made["other project"]
        path = f"/projects/{project}/providers/openai/{credential['id']}"
        assert await api.problem("PUT", path, {}, headers=theirs) == {"credential"}
        await api.ask("GET", f"/projects/{project}", None, 404)
        for listed in ("credentials", "limits", "issuers"):
            assert (await api.ask("GET", f"/{listed}", headers=theirs))["items"] == []

    run(tmp_path, test)


def test_trying_a_credential_out(tmp_path: Path) -> None:
    """I3: to its own origin, with its own header; the answer's body is not repeated."""
    status = [200]

    def reply(_asked: Asked) -> bytes:
        return answer(status[0], {"error": f"you sent {SECRET}"})

    async def test() -> None:
        async with place(reply) as provider, administered(tmp_path, own={"openai": provider.url}) as api:
            made = await api.credential()
            path = f"/credentials/{made['id']}"
            assert await api.ask("POST", f"{path}/test") == {"healthy": True, "reason": None}
            [asked] = provider.asked
            assert (asked.method, asked.target) == ("GET", "/v1/models")
            assert asked.headers["authorization"] == f"Bearer {SECRET}"
            assert (await api.ask("GET", path))["health"] == "healthy"
            status[0] = 401
            assert (await api.ask("POST", f"{path}/test"))["healthy"] is False
            found = await api.ask("GET", path)
            assert (found["health"], found["health_reason"]) == ("unhealthy", "the provider answered 401")
            status[0] = 500
            assert (await api.ask("POST", f"{path}/test"))["healthy"] is None
            assert not any(SECRET in each for each in api.answers)

    asyncio.run(test())


def test_a_hook_rotates_what_is_due(tmp_path: Path) -> None:
    """D12: asked with a signature, never told the old secret."""
    new = ["sk-planted-from-the-hook-1"]
    status = [200]

    def reply(_asked: Asked) -> bytes:
        return answer(status[0], {"secret": new[0]})

    async def test() -> None:
        async with AsyncExitStack() as stack:
            hook = await stack.enter_async_context(place(reply))
            callouts = Callouts(private=(hook.url,))
            api = await stack.enter_async_context(administered(tmp_path, callouts=callouts))
            made = await api.credential(rotate_hook=f"{hook.url}/new", rotate_every_days=30)
            rotated = await api.ask("POST", f"/credentials/{made['id']}/rotate", {})
            assert rotated["last4"] == new[0][-4:]
            asked = hook.asked[0]
            assert SECRET.encode() not in asked.body and made["hook_key"] not in str(
                await api.ask("GET", "/credentials")
            )
            at, _, signed = asked.headers["x-gatehouse-signature"].partition(",v1=")
            body = at.removeprefix("t=").encode() + b"." + asked.body
            assert signed == hmac.digest(bytes.fromhex(made["hook_key"]), body, "sha256").hex()
            # In 31 days it is due: the hook is called without anybody asking; where it fails, an event says so once.
            administration = api.house.accounts.administration
            later = [float(31 * 86_400) + 2_000_000_000]
            upkeep = Upkeep(administration, now=lambda: later[0])
            new[0] = "sk-planted-from-the-hook-2"
            await upkeep.look()
            await upkeep.rotate_due()
            assert (await api.ask("GET", f"/credentials/{made['id']}"))["last4"] == "ok-2"
            status[0] = 500
            for _ in range(3):
                later[0] += 31 * 86_400
                await upkeep.look()
                await upkeep.rotate_due()
            assert len(api.house.said("credential.rotation_failed")) == 1
            directory = administration.tenant(ids.DEFAULT)
            change = CredentialChange(rotate_hook=None, rotate_key=None)
            await directory.update_credential(made["id"], change, event("credential.update", made["id"]))
            await upkeep.look()
            await upkeep.rotate_due()
            assert api.house.said("credential.rotation_due")[0].target == made["id"]
            problem = await api.problem("POST", f"/credentials/{made['id']}/rotate", {})
            assert problem == {"secret"}

    asyncio.run(test())


def test_tokens_are_fetched_sealed_and_published(tmp_path: Path) -> None:
    """D11: what a token is fetched with stays in the control plane."""

    def reply(asked: Asked) -> bytes:
        if asked.form["client_secret"] != _ENTRA["client_secret"]:
            return answer(401, {"error": "invalid_client"})
        return answer(200, {"access_token": "planted-token", "expires_in": 3600})

    async def test() -> None:
        async with AsyncExitStack() as stack:
            entra = await stack.enter_async_context(place(reply))
            callouts = Callouts(private=(entra.url,))
            api = await stack.enter_async_context(administered(tmp_path, callouts=callouts))
            administration = api.house.accounts.administration
            body = {"name": "a", "provider": "azure", "kind": "azure_entra", "resource": "res", "secret": _ENTRA}
            made = await api.ask("POST", "/credentials", body, 201)
            said = {"directory_id": "contoso.example", "client_id": "0a1b2c3d", "cloud": "public", "resource": "res"}
            assert made["settings"] == said
            assert made["id"] not in (await administration.operator.sections()).credentials
            places = PLACES._replace(entra={**PLACES.entra, "public": Cloud(entra.url, "scope")})
            upkeep = Upkeep(administration, places=places)
            await upkeep.look()
            running = asyncio.create_task(upkeep.run())
            async with asyncio.timeout(10):
                while made["id"] not in (found := await administration.operator.sections()).credentials:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            entry = found.credentials[made["id"]]
            binding = Binding(ids.DEFAULT, made["id"], "azure", "https://res.openai.azure.com")
            token = administration.means.vault.open(binding, entry.sealed, (Kept,))
            assert msgspec.structs.asdict(token)["value"] == "planted-token"
            shown = await api.ask("GET", f"/credentials/{made['id']}")
            assert shown["token_expires_at"] is not None
            assert not any(word in each for each in api.answers for word in ("planted-token", _ENTRA["client_secret"]))

    asyncio.run(test())
