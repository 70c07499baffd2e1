"""`/api/v1/issuers`: whose JWTs say who a caller of the data plane is."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from gatehouse import errors
from gatehouse.auth import scopes
from gatehouse.auth.platform import ISSUER as PLATFORM
from gatehouse.control.administration import Administration, check_callable
from gatehouse.control.answers import Answers, FieldError, InputError, answer, done
from gatehouse.control.caller import caller_of
from gatehouse.control.credentials import Url
from gatehouse.control.keysets import KeySetError, KeySets
from gatehouse.control.minting import Names
from gatehouse.control.parameters import Body, Id, NoParameters, Paging, once, referred
from gatehouse.control.projects import flags
from gatehouse.errors import GatehouseError
from gatehouse.model.access import ALGORITHMS
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import IssuerChange, NewIssuer
from gatehouse.store.directory.views import Issuer, Page

ANSWERS: Final[Answers] = {
    ("GET", "/api/v1/issuers"): (200, Page[Issuer]),
    ("POST", "/api/v1/issuers"): (201, Issuer),
    ("GET", "/api/v1/issuers/{id}"): (200, Issuer),
    ("PATCH", "/api/v1/issuers/{id}"): (200, Issuer),
    ("DELETE", "/api/v1/issuers/{id}"): (204, None),
    ("POST", "/api/v1/issuers/{id}/refresh"): (200, Issuer),
}
Claim = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
Algorithms = Annotated[list[str], Field(min_length=1, max_length=20)]
IssuerId = Annotated[Id, Path(alias="id", description="Id of the issuer.")]


class IssuerBody(Body):
    """A new issuer."""

    issuer: Annotated[Url, Field(description="As `iss` says it.")]
    audience: Annotated[Claim, Field(description="What `aud` must hold.")]
    algorithms: Annotated[Algorithms, Field(description="Asymmetric ones it may sign with.")] = ["RS256", "ES256"]
    jwks_url: Annotated[
        Url | None, Field(description="Where its keys are; `null`: where its discovery document says.")
    ] = None
    user_claim: Annotated[Claim, Field(description="Who the person is.")] = "sub"
    groups_claim: Annotated[Claim, Field(description="The person's groups.")] = "groups"
    service_claim: Annotated[Claim, Field(description="What application it is.")] = "azp"
    project: Annotated[
        Id | None, Field(description="Of callers whose token is their only credential; `null`: a key is needed.")
    ] = None
    scopes: Annotated[Names, Field(description="What such callers may do.")] = []


class IssuerUpdate(Body):
    """What changes; what is left out stays."""

    algorithms: Algorithms = []
    jwks_url: Url | None = None
    user_claim: Claim = ""
    groups_claim: Claim = ""
    service_claim: Claim = ""
    project: Id | None = None
    scopes: Names = []
    disabled: Annotated[bool, Field(description="Its tokens are refused.")] = False


def routes(administration: Administration, key_sets: KeySets) -> APIRouter:
    """The routes over one tenant's issuers."""
    router = APIRouter(prefix="/api/v1/issuers", tags=["issuers"])

    @router.get("", summary="Issuers, newest first")
    async def list_issuers(request: Request, asked: Annotated[Paging, Query()]) -> Response:
        once(request)
        return answer(await administration.reading(caller_of(request)).issuers(asked.limit, asked.cursor))

    @router.post("", summary="Take an issuer's tokens")
    async def create_issuer(request: Request, body: IssuerBody, _asked: Annotated[NoParameters, Query()]) -> Response:
        """Its keys are fetched at once. `keys_at` is `null` where that failed: it is tried again, and `refresh` says
        why."""
        caller = caller_of(request)
        directory = administration.directory(caller)
        given = _checked(body.model_dump())
        if body.issuer == PLATFORM:
            raise InputError(FieldError("issuer", "is Gatehouse's own"))
        if body.jwks_url is None:
            check_callable(administration.means, "issuer", body.issuer)
        check_callable(administration.means, "jwks_url", body.jwks_url)
        if body.project is not None:
            await referred("project", directory.project(body.project))
        new = NewIssuer(id=ids.new("issuer"), **given)
        event = caller.event("issuer.create", "issuer", new.id, project=new.project)
        made = await directory.create_issuer(new, event)
        try:
            await key_sets.fetch(caller.tenant, made.id, made.issuer, made.jwks_url)
        except KeySetError:
            await administration.changed()
        return answer(await directory.issuer(made.id), 201)

    @router.get("/{id}", summary="One issuer")
    async def show_issuer(request: Request, name: IssuerId, _asked: Annotated[NoParameters, Query()]) -> Response:
        return answer(await administration.reading(caller_of(request)).issuer(name))

    @router.patch("/{id}", summary="Change an issuer")
    async def update_issuer(
        request: Request, name: IssuerId, body: IssuerUpdate, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """It answers when every worker goes by it."""
        caller = caller_of(request)
        directory = administration.directory(caller)
        given = _checked(body.given())
        check_callable(administration.means, "jwks_url", given.get("jwks_url"))
        if given.get("project") is not None:
            await referred("project", directory.project(given["project"]))
        event = caller.event("issuer.update", "issuer", name, **flags(given))
        changed = await directory.update_issuer(name, IssuerChange(**given), event)
        if "jwks_url" in given:
            key_sets.want((name,))
        await administration.revoked()
        return answer(changed)

    _ended(router, administration)
    _fetched(router, administration, key_sets)
    return router


def _ended(router: APIRouter, administration: Administration) -> None:
    @router.delete("/{id}", summary="Take an issuer's tokens no more", status_code=204)
    async def delete_issuer(request: Request, name: IssuerId, _asked: Annotated[NoParameters, Query()]) -> Response:
        """It answers when no worker takes its tokens any more."""
        caller = caller_of(request)
        await administration.directory(caller).delete_issuer(name, caller.event("issuer.delete", "issuer", name))
        await administration.revoked()
        return done()


def _fetched(router: APIRouter, administration: Administration, key_sets: KeySets) -> None:
    @router.post("/{id}/refresh", summary="Fetch an issuer's keys now")
    async def refresh_issuer(request: Request, name: IssuerId, _asked: Annotated[NoParameters, Query()]) -> Response:
        caller = caller_of(request)
        directory = administration.directory(caller)
        found = await directory.issuer(name)
        try:
            await key_sets.fetch(caller.tenant, name, found.issuer, found.jwks_url)
        except KeySetError as error:
            raise GatehouseError(errors.UPSTREAM_ERROR, str(error)) from error
        return answer(await directory.issuer(name))


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    """What single fields cannot say. Raises `InputError`."""
    problems = [
        FieldError(f"algorithms[{index}]", f"must be one of {', '.join(sorted(ALGORITHMS))}")
        for index, name in enumerate(given.get("algorithms", ()))
        if name not in ALGORITHMS
    ]
    problems += [FieldError("scopes", f"there is no scope {name}") for name in scopes.unknown(given.get("scopes", ()))]
    if problems:
        raise InputError(*problems)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
