"""`/api/v1/tenants`: the organizations of this gateway. For whoever operates it, and nobody else (I6)."""

from __future__ import annotations

import time
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from gatehouse.auth import invitations
from gatehouse.control.accounts import Accounts
from gatehouse.control.answers import Answers, answer
from gatehouse.control.caller import caller_of
from gatehouse.control.entrance import Email
from gatehouse.control.parameters import Body, Id, Name, NoParameters, Paging, once
from gatehouse.control.projects import flags
from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import NewProject, NewTenant, NewUser, TenantChange
from gatehouse.store.directory.views import Page, Tenant
from gatehouse.store.views import Time


class TenantMade(msgspec.Struct, frozen=True):
    """A new tenant, its first project, and how its owner comes in: the invitation is shown once."""

    tenant: Tenant
    project: str
    owner: str
    invitation: str
    invitation_expires_at: Time


ANSWERS: Final[Answers] = {
    ("GET", "/api/v1/tenants"): (200, Page[Tenant]),
    ("POST", "/api/v1/tenants"): (201, TenantMade),
    ("PATCH", "/api/v1/tenants/{id}"): (200, Tenant),
}


class TenantBody(Body):
    """A new tenant and its owner."""

    name: Annotated[Name, Field(description="Unique, in any case.")]
    owner_email: Email
    owner_name: Name | None = None


class TenantUpdate(Body):
    """What changes; what is left out stays."""

    name: Name = ""
    disabled: Annotated[bool, Field(description="Nobody of it comes in, and its keys are refused.")] = False


def routes(accounts: Accounts) -> APIRouter:
    """The routes over all tenants."""
    router = APIRouter(prefix="/api/v1/tenants", tags=["tenants"])
    administration = accounts.administration

    @router.get("", summary="Tenants, newest first")
    async def list_tenants(request: Request, asked: Annotated[Paging, Query()]) -> Response:
        once(request)
        return answer(await administration.operator.tenants(asked.limit, asked.cursor))

    @router.post("", summary="Make a tenant with its owner", status_code=201)
    async def create_tenant(request: Request, body: TenantBody, _asked: Annotated[NoParameters, Query()]) -> Response:
        """And its first project, `default`."""
        caller = caller_of(request)
        tenant = NewTenant(ids.new("tenant"), body.name)
        project = NewProject(ids.new("project"), str(ids.uuid7()), "default")
        owner = ids.new("user")
        invitation = invitations.new_invitation(tenant.id, owner, int(time.time()))
        user = NewUser(owner, body.owner_email, "owner", name=body.owner_name, password_hash=invitation.kept)
        events = [
            caller.event("tenant.create", "tenant", tenant.id),
            caller.event("project.create", "project", project.id),
            caller.event("user.create", "user", owner, role="owner", invited=True),
        ]
        await administration.operator.set_up(tenant, project, user, events)
        await administration.changed()
        made = await administration.operator.tenant(tenant.id)
        until = times.rfc3339(invitation.expires * times.SECOND)
        return answer(TenantMade(made, project.id, owner, invitation.text, until), 201)

    @router.patch("/{id}", summary="Change a tenant")
    async def update_tenant(
        request: Request,
        name: Annotated[Id, Path(alias="id", description="Id of the tenant.")],
        body: TenantUpdate,
        _asked: Annotated[NoParameters, Query()],
    ) -> Response:
        """Disabling one answers when no worker takes its keys any more."""
        given = body.given()
        event = caller_of(request).event("tenant.update", "tenant", name, **flags(given))
        changed = await administration.tenant(name).update_tenant(TenantChange(**given), event)
        await administration.revoked()
        return answer(changed)

    return router
