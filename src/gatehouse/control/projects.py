"""`/api/v1/projects`: what gateway keys belong to, and which providers they may use by which credential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from gatehouse.control.administration import Administration
from gatehouse.control.answers import Answers, FieldError, InputError, answer, done
from gatehouse.control.caller import caller_of
from gatehouse.control.parameters import Body, Id, Name, NoParameters, Paging, Text, once, referred
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import NewBinding, NewProject, ProjectChange, ProjectFilter
from gatehouse.store.directory.views import Page, Project

ANSWERS: Final[Answers] = {
    ("GET", "/api/v1/projects"): (200, Page[Project]),
    ("POST", "/api/v1/projects"): (201, Project),
    ("GET", "/api/v1/projects/{id}"): (200, Project),
    ("PATCH", "/api/v1/projects/{id}"): (200, Project),
    ("DELETE", "/api/v1/projects/{id}"): (204, None),
    ("PUT", "/api/v1/projects/{id}/providers/{provider}/{credential}"): (200, Project),
    ("DELETE", "/api/v1/projects/{id}/providers/{provider}/{credential}"): (200, Project),
    ("DELETE", "/api/v1/projects/{id}/providers/{provider}"): (200, Project),
}

ProjectId = Annotated[Id, Path(alias="id", description="Id of the project.")]
CredentialId = Annotated[Id, Path(description="Id of the credential.")]
ProviderName = Annotated[str, Path(pattern="^[a-z0-9-]{1,64}$", description="Name of the provider.")]


class ProjectParameters(Paging):
    """Which projects."""

    name: Annotated[Name | None, Field(description="The one with this name, in any case.")] = None
    uuid: Annotated[str | None, Field(max_length=36, description="The one with this UUID.")] = None


class ProjectBody(Body):
    """A new project."""

    name: Annotated[Name, Field(description="Unique in the tenant, in any case.")]
    type: Annotated[Text, Field(description="A label, such as `backend`.")] = ""
    environment: Annotated[Text, Field(description="A label that reports tell apart, such as `prod`.")] = ""
    team: Annotated[Text, Field(description="A label that reports tell apart.")] = ""
    own_keys: Annotated[
        bool | None,
        Field(
            description="Whether callers may bring their own provider keys; `null`: for providers of which no "
            "credential is bound."
        ),
    ] = None


class ProjectUpdate(Body):
    """What changes; what is left out stays."""

    name: Name = ""
    type: Text = ""
    environment: Text = ""
    team: Text = ""
    own_keys: bool | None = None
    disabled: Annotated[bool, Field(description="Calls of its keys are refused.")] = False


class BindingBody(Body):
    """How a provider is used."""

    weight: Annotated[
        int | None,
        Field(ge=1, le=1_000_000, description="Its share among several credentials; `null`: the credential's own."),
    ] = None


def routes(administration: Administration) -> APIRouter:
    """The routes over one tenant's projects."""
    router = APIRouter(prefix="/api/v1/projects", tags=["projects"])

    @router.get("", summary="Projects, newest first")
    async def list_projects(request: Request, asked: Annotated[ProjectParameters, Query()]) -> Response:
        once(request)
        directory = administration.reading(caller_of(request))
        wanted = ProjectFilter(name=asked.name, uuid=asked.uuid)
        return answer(await directory.projects(wanted, asked.limit, asked.cursor))

    @router.post("", summary="Make a project")
    async def create_project(request: Request, body: ProjectBody, _asked: Annotated[NoParameters, Query()]) -> Response:
        caller = caller_of(request)
        new = NewProject(ids.new("project"), str(ids.uuid7()), **body.model_dump())
        made = await administration.directory(caller).create_project(
            new, caller.event("project.create", "project", new.id)
        )
        await administration.changed()
        return answer(made, 201)

    @router.get("/{id}", summary="One project with its providers")
    async def show_project(request: Request, name: ProjectId, _asked: Annotated[NoParameters, Query()]) -> Response:
        return answer(await administration.reading(caller_of(request)).project(name))

    @router.patch("/{id}", summary="Change a project")
    async def update_project(
        request: Request, name: ProjectId, body: ProjectUpdate, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """Disabling one answers when no worker takes its keys any more."""
        caller = caller_of(request)
        given = body.given()
        event = caller.event("project.update", "project", name, **flags(given))
        changed = await administration.directory(caller).update_project(name, ProjectChange(**given), event)
        await administration.revoked()
        return answer(changed)

    @router.delete("/{id}", summary="Delete a project", status_code=204)
    async def delete_project(request: Request, name: ProjectId, _asked: Annotated[NoParameters, Query()]) -> Response:
        """Its keys have to be revoked before; its limits go with it."""
        caller = caller_of(request)
        event = caller.event("project.delete", "project", name)
        await administration.directory(caller).delete_project(name, event)
        await administration.revoked()
        return done()

    _bindings(router, administration)
    return router


def _bindings(router: APIRouter, administration: Administration) -> None:
    @router.put("/{id}/providers/{provider}/{credential}", summary="Enable a provider by a credential")
    async def enable_provider(
        request: Request,
        name: ProjectId,
        provider: ProviderName,
        credential: CredentialId,
        body: BindingBody,
        _asked: Annotated[NoParameters, Query()],
    ) -> Response:
        """Once more: with another weight. Several credentials of a provider share its calls by weight."""
        caller = caller_of(request)
        known_provider(administration.means.providers, provider)
        directory = administration.directory(caller)
        await directory.project(name)
        found = await referred("credential", directory.credential(credential))
        if found.provider != provider:
            raise InputError(FieldError("credential", f"it is for provider {found.provider}"))
        event = caller.event("project.enable", "project", name, provider=provider, credential=credential)
        changed = await directory.bind(name, NewBinding(provider, credential, body.weight), event)
        await administration.changed()
        return answer(changed)

    @router.delete("/{id}/providers/{provider}/{credential}", summary="A credential no longer serves the project")
    async def disable_credential(
        request: Request,
        name: ProjectId,
        provider: ProviderName,
        credential: CredentialId,
        _asked: Annotated[NoParameters, Query()],
    ) -> Response:
        caller = caller_of(request)
        event = caller.event("project.disable", "project", name, provider=provider, credential=credential)
        changed = await administration.directory(caller).unbind(name, provider, credential, event)
        await administration.revoked()
        return answer(changed)

    @router.delete("/{id}/providers/{provider}", summary="Disable a provider")
    async def disable_provider(
        request: Request, name: ProjectId, provider: ProviderName, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        """None of its credentials serves the project any more."""
        caller = caller_of(request)
        async with administration.directory(caller).together() as directory:
            changed = await directory.project(name)
            for binding in changed.bindings:
                if binding.provider == provider:
                    told = {"provider": provider, "credential": binding.credential}
                    event = caller.event("project.disable", "project", name, **told)
                    changed = await directory.unbind(name, provider, binding.credential, event)
        await administration.revoked()
        return answer(changed)


def known_provider(providers: Mapping[str, ProviderEntry], name: str) -> ProviderEntry:
    """The provider a credential may be stored for. Raises `InputError`."""
    entry = providers.get(name)
    if entry is None:
        raise InputError(FieldError("provider", unknown_provider(providers)))
    if entry.origin.builtin:
        raise InputError(FieldError("provider", "it takes no credential"))
    return entry


def unknown_provider(providers: Mapping[str, ProviderEntry]) -> str:
    """What to say of a name that is none of these."""
    return f"no such provider is configured; there are {', '.join(sorted(providers))}"


def flags(given: Mapping[str, Any]) -> dict[str, Any]:
    """What of a change goes on record: numbers and flags, and of all else only that it was changed."""
    told = {name: value for name, value in given.items() if isinstance(value, bool | int) or value is None}
    other = sorted(given.keys() - told.keys())
    return told | ({"changed": other} if other else {})
