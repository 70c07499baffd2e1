"""`/api/v1/credentials`: providers' secrets. They are written, replaced and used, and never read back (I3).

Rules: the one origin a secret may go to comes from the provider's entry, with a resource (Azure) or a region (Bedrock,
Vertex AI) where that has many, and from nowhere else; provider, kind and origin of a credential never change. What the
secret says that is no secret (a region, a role) is shown under `settings`, and the resource with it. The key that signs
calls of a `rotate` hook is shown once, when the hook is set.
"""

from __future__ import annotations

import secrets as randomness
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import AfterValidator, Field
from starlette.responses import Response

from gatehouse.auth import secrets
from gatehouse.auth.injection import KINDS
from gatehouse.auth.secrets import ApiKey, AwsKeys, AwsRole, Given
from gatehouse.auth.vault import Binding
from gatehouse.control.administration import Administration, check_callable
from gatehouse.control.answers import Answers, FieldError, InputError, answer, done
from gatehouse.control.caller import Caller, caller_of
from gatehouse.control.parameters import Body, Id, Name, NoParameters, Paging, once, referred
from gatehouse.control.projects import flags, known_provider
from gatehouse.control.trial import Verdict
from gatehouse.control.upkeep import Upkeep, hook_binding, opened
from gatehouse.model.access import CredentialKind
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.providers.origins import credential_origin
from gatehouse.routing.regions import region_origin
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import CredentialChange, CredentialFilter, NewCredential
from gatehouse.store.directory.views import Credential, Page


class MadeCredential(Credential, frozen=True, kw_only=True):
    """A credential whose `rotate` hook was just set."""

    hook_key: str | None
    """Hex: what the receiver checks `x-gatehouse-signature` with. In this answer only; `null`: no hook was set."""


ANSWERS: Final[Answers] = {
    ("GET", "/api/v1/credentials"): (200, Page[Credential]),
    ("POST", "/api/v1/credentials"): (201, MadeCredential),
    ("GET", "/api/v1/credentials/{id}"): (200, Credential),
    ("PATCH", "/api/v1/credentials/{id}"): (200, MadeCredential),
    ("DELETE", "/api/v1/credentials/{id}"): (204, None),
    ("POST", "/api/v1/credentials/{id}/rotate"): (200, Credential),
    ("POST", "/api/v1/credentials/{id}/test"): (200, Verdict),
}
HOOK_KEY_BYTES: Final = 32
_RESOURCE: Final = "resource"
"""Of `settings`: what was said under this name when the credential was made."""
_SETTINGS: Final = ("region", "role_arn", "directory_id", "client_id", "cloud", "client_email")
"""Fields of secrets that are not secret themselves."""


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is no URL") from None
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        raise ValueError("must begin with https:// and a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must hold no user, password or fragment")
    return value


Url = Annotated[str, Field(max_length=2048, pattern=r"^[\x21-\x7e]+$"), AfterValidator(_url)]
SecretField = Annotated[str, Field(min_length=1, max_length=32_768)] | dict[str, Any]
Weight = Annotated[int, Field(ge=1, le=1_000_000, description="Its share where several credentials serve a project.")]
Days = Annotated[
    int, Field(ge=1, le=3650, description="It is due for rotation so often: the hook is called, or an event says so.")
]
CredentialId = Annotated[Id, Path(alias="id", description="Id of the credential.")]


class CredentialBody(Body):
    """A new credential."""

    name: Annotated[Name, Field(description="Unique in the tenant, in any case.")]
    provider: Annotated[Name, Field(description="Name of the provider.")]
    secret: Annotated[
        SecretField, Field(description="The key's text; for other kinds their fields, see docs/credentials.md.")
    ]
    kind: CredentialKind = "api_key"
    resource: Annotated[
        str | None,
        Field(
            max_length=63,
            description="Azure: the resource that the key is of. Bedrock, Vertex AI: the region it is for; left out: "
            "that of the secret, and of Vertex AI the global endpoint.",
        ),
    ] = None
    weight: Weight = 1
    test: Annotated[bool, Field(description="`test` keys may use it.")] = False
    exclusive: Annotated[
        Id | None, Field(description="The one project that may list and read what the provider stores.")
    ] = None
    rotate_every_days: Days | None = None
    rotate_hook: Annotated[Url | None, Field(description="Answers with a new secret, see docs/credentials.md.")] = None


class CredentialUpdate(Body):
    """What changes; what is left out stays."""

    name: Name = ""
    weight: Weight = 1
    test: bool = False
    exclusive: Id | None = None
    rotate_every_days: Days | None = None
    rotate_hook: Url | None = None
    retiring: Annotated[bool, Field(description="It serves no new call.")] = False
    disabled: Annotated[bool, Field(description="It serves nobody; calls are not sent elsewhere instead.")] = False


class SecretBody(Body):
    """A new secret in place of the old one."""

    secret: Annotated[SecretField | None, Field(description="`null`: ask the credential's `rotate` hook for one.")] = (
        None
    )


class CredentialParameters(Paging):
    """Which credentials."""

    name: Annotated[Name | None, Field(description="The one with this name, in any case.")] = None
    provider: Annotated[Name | None, Field(description="Of this provider.")] = None


def routes(administration: Administration, upkeep: Upkeep) -> APIRouter:
    """The routes over one tenant's credentials."""
    router = APIRouter(prefix="/api/v1/credentials", tags=["credentials"])

    @router.get("", summary="Credentials, newest first")
    async def list_credentials(request: Request, asked: Annotated[CredentialParameters, Query()]) -> Response:
        once(request)
        directory = administration.reading(caller_of(request))
        wanted = CredentialFilter(name=asked.name, provider=asked.provider)
        return answer(await directory.credentials(wanted, asked.limit, asked.cursor))

    @router.post("", summary="Store a provider's secret")
    async def create_credential(
        request: Request, body: CredentialBody, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """It is sealed for its tenant, provider and origin, and never shown again."""
        caller = caller_of(request)
        new, key = _new(administration, caller, body)
        directory = administration.directory(caller)
        if body.exclusive is not None:
            await referred("exclusive", directory.project(body.exclusive))
        event = caller.event("credential.create", "credential", new.id, provider=body.provider, kind=body.kind)
        made = await directory.create_credential(new, event)
        await upkeep.look()
        await administration.changed()
        return answer(_made(made, key), 201)

    @router.get("/{id}", summary="One credential, without its secret")
    async def show_credential(
        request: Request, name: CredentialId, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        return answer(await administration.reading(caller_of(request)).credential(name))

    @router.patch("/{id}", summary="Change a credential")
    async def update_credential(
        request: Request, name: CredentialId, body: CredentialUpdate, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """It answers when every worker goes by it. Its secret: see `rotate`."""
        caller = caller_of(request)
        directory = administration.directory(caller)
        given = body.given()
        if given.get("exclusive") is not None:
            await referred("exclusive", directory.project(given["exclusive"]))
        key = None
        if "rotate_hook" in given:
            key, given["rotate_key"] = _hook_key(administration, caller, name, given["rotate_hook"])
        told = flags({field: value for field, value in given.items() if field != "rotate_key"})
        event = caller.event("credential.update", "credential", name, **told)
        changed = await directory.update_credential(name, CredentialChange(**given), event)
        await upkeep.look()
        await administration.revoked()
        return answer(_made(changed, key))

    @router.delete("/{id}", summary="Delete a credential", status_code=204)
    async def delete_credential(
        request: Request, name: CredentialId, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """Its secret is gone, on every worker. Projects must not be bound to it any more."""
        caller = caller_of(request)
        event = caller.event("credential.delete", "credential", name)
        await administration.directory(caller).delete_credential(name, event)
        await upkeep.look()
        await administration.revoked()
        return done()

    _secrets(router, administration, upkeep)
    return router


def _secrets(router: APIRouter, administration: Administration, upkeep: Upkeep) -> None:
    @router.post("/{id}/rotate", summary="Replace a credential's secret")
    async def rotate_credential(
        request: Request, name: CredentialId, body: SecretBody, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """The new one takes over; calls under way end with the old one. It answers when no worker begins a call with
        the old one any more."""
        caller = caller_of(request)
        directory = administration.directory(caller)
        found = await directory.credential(name)
        event = caller.event("credential.rotate", "credential", name, by_hook=body.secret is None)
        if body.secret is not None:
            entry = known_provider(administration.means.providers, found.provider)
            secret = _read(entry, found.kind, body.secret)
            _same_region(entry, found.origin, secret)
        else:
            secret = await upkeep.from_hook(caller.tenant, found)
        binding = Binding(caller.tenant, name, found.provider, found.origin)
        sealed = administration.means.vault.seal(binding, secret)
        kept = {_RESOURCE: found.settings[_RESOURCE]} if _RESOURCE in found.settings else {}
        settings = settings_of(secret) | kept
        async with directory.together() as inside:
            if settings != found.settings:
                told = caller.event("credential.update", "credential", name, changed=["settings"])
                await inside.update_credential(name, CredentialChange(settings=settings), told)
            changed = await inside.put_secret(name, sealed, secret.last4, event)
        await upkeep.look()
        await administration.revoked()
        return answer(changed)

    @router.post("/{id}/test", summary="Try a credential out")
    async def test_credential(
        request: Request, name: CredentialId, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """One harmless request to the provider; what it says becomes the credential's health."""
        caller = caller_of(request)
        directory = administration.directory(caller)
        found = await directory.credential(name)
        entry = known_provider(administration.means.providers, found.provider)
        secret = opened(administration, caller.tenant, found, await directory.sealed(name))
        verdict = await upkeep.trial(found, entry, secret)
        if verdict.healthy is not None:
            await directory.put_health(name, verdict.healthy, verdict.reason)
        return answer(verdict)


def _new(administration: Administration, caller: Caller, body: CredentialBody) -> tuple[NewCredential, str | None]:
    """What is stored, sealed, and the key of its hook. Raises `InputError`."""
    entry = known_provider(administration.means.providers, body.provider)
    secret = _read(entry, body.kind, body.secret)
    origin = _origin(entry, body.resource, secret)
    name = ids.new("credential")
    key, sealed_key = _hook_key(administration, caller, name, body.rotate_hook)
    new = NewCredential(
        id=name,
        name=body.name,
        provider=body.provider,
        origin=origin,
        kind=body.kind,
        sealed=administration.means.vault.seal(Binding(caller.tenant, name, body.provider, origin), secret),
        last4=secret.last4,
        settings=settings_of(secret) | ({} if body.resource is None else {_RESOURCE: body.resource}),
        weight=body.weight,
        test=body.test,
        exclusive=body.exclusive,
        rotate_every_days=body.rotate_every_days,
        rotate_hook=body.rotate_hook,
        rotate_key=sealed_key,
    )
    return new, key


def _read(entry: ProviderEntry, kind: CredentialKind, given: SecretField) -> Given:
    """Raises `InputError`, which names fields and never a value."""
    if kind not in KINDS[entry.auth]:
        raise InputError(FieldError("kind", f"provider {entry.name} takes {', '.join(KINDS[entry.auth])}"))
    try:
        return secrets.read(kind, given)
    except ValueError as error:
        raise InputError(FieldError("secret", str(error))) from None


def _origin(entry: ProviderEntry, resource: str | None, secret: Given) -> str:
    """Raises `InputError`."""
    try:
        if not entry.regions:
            return str(credential_origin(entry, resource))
        origin = str(region_origin(entry, resource or _region(secret)))
    except ValueError as error:
        raise InputError(FieldError("resource", str(error))) from None
    _same_region(entry, origin, secret)
    return origin


def _same_region(entry: ProviderEntry, origin: str, secret: Given) -> None:
    """Raises `InputError`: a signature for one region is worth nothing in another."""
    region = _region(secret)
    if entry.regions and region is not None and str(region_origin(entry, region)) != origin:
        raise InputError(FieldError("secret", f"region: the credential is for {origin}"))


def _region(secret: Given) -> str | None:
    return secret.region if isinstance(secret, AwsKeys | AwsRole) else None


def settings_of(secret: Given) -> dict[str, Any]:
    """What of a secret is not secret."""
    names = [name for name in _SETTINGS if name in secret.__struct_fields__]
    return {name: value for name in names if (value := getattr(secret, name))}


def _hook_key(
    administration: Administration, caller: Caller, name: str, hook: str | None
) -> tuple[str | None, bytes | None]:
    """A key for the signatures of a hook's calls: for its owner, and sealed. Raises `InputError`."""
    if hook is None:
        return None, None
    check_callable(administration.means, "rotate_hook", hook)
    key = randomness.token_hex(HOOK_KEY_BYTES)
    return key, administration.means.vault.seal(hook_binding(caller.tenant, name), ApiKey(key))


def _made(credential: Credential, key: str | None) -> MadeCredential:
    return MadeCredential(**msgspec.structs.asdict(credential), hook_key=key)
