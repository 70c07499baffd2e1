"""`/api/v1/events`: thresholds of limits and warnings, and the one webhook that they are posted to."""

from __future__ import annotations

import secrets
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from gatehouse.auth.secrets import ApiKey
from gatehouse.control.administration import Administration, check_callable
from gatehouse.control.answers import Answers, FieldError, InputError, answer, done
from gatehouse.control.caller import caller_of
from gatehouse.control.credentials import HOOK_KEY_BYTES, Url
from gatehouse.control.notifying import EVENTS, Notifying, Told, webhook_binding
from gatehouse.control.parameters import Body, Moment, NoParameters, Paging, Word, once
from gatehouse.store import times
from gatehouse.store.audit import AuditFilter, AuditPage
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import NewWebhook
from gatehouse.store.directory.errors import NotThere
from gatehouse.store.directory.views import Hook, Webhook
from gatehouse.store.reading import Readers
from gatehouse.store.views import Time


class MadeWebhook(msgspec.Struct, frozen=True):
    """A webhook that was just set."""

    url: str
    created_at: Time
    secret: str
    """Hex: what its receiver checks signatures with. In this answer only."""


class Delivery(msgspec.Struct, frozen=True):
    """What became of a post."""

    delivered: bool
    reason: str | None
    """Why not."""


ANSWERS: Final[Answers] = {
    ("GET", "/api/v1/events"): (200, AuditPage),
    ("GET", "/api/v1/events/webhook"): (200, Webhook),
    ("PUT", "/api/v1/events/webhook"): (200, MadeWebhook),
    ("DELETE", "/api/v1/events/webhook"): (204, None),
    ("POST", "/api/v1/events/webhook/test"): (200, Delivery),
}
TRIAL: Final = "webhook.test"
"""The event that says nothing."""


class EventParameters(Paging):
    """Which events."""

    since: Annotated[Moment | None, Field(description="At or after this time.")] = None
    until: Annotated[Moment | None, Field(description="Before this time.")] = None
    action: Annotated[list[Word], Field(max_length=20, description="`limit.threshold` …")] = []
    target: Annotated[Word | None, Field(description="Id of the limit, credential or issuer.")] = None


class WebhookBody(Body):
    """Where events are posted to."""

    url: Url


def routes(administration: Administration, readers: Readers, notifying: Notifying) -> APIRouter:
    """The routes over one tenant's events."""
    router = APIRouter(prefix="/api/v1/events", tags=["events"])

    @router.get("", summary="Thresholds and warnings, newest first")
    async def list_events(request: Request, asked: Annotated[EventParameters, Query()]) -> Response:
        once(request, frozenset({"action"}))
        unknown = [name for name in asked.action if name not in EVENTS]
        if unknown:
            raise InputError(FieldError("action", f"must be one of {', '.join(EVENTS)}"))
        audit = await readers.audit(caller_of(request).sight)
        wanted = AuditFilter(
            since=None if asked.since is None else times.of(asked.since),
            until=None if asked.until is None else times.of(asked.until),
            actions=tuple(asked.action) or EVENTS,
            actor_kinds=("system",),
            target=asked.target,
        )
        return answer(await audit.page(wanted, asked.limit, asked.cursor))

    @router.get("/webhook", summary="Where events are posted to")
    async def show_webhook(request: Request, _asked: Annotated[NoParameters, Query()]) -> Response:
        found = await administration.reading(caller_of(request)).webhook()
        if found is None:
            raise NotThere("there is no webhook")
        return answer(found)

    @router.put("/webhook", summary="Post events to a URL")
    async def set_webhook(request: Request, body: WebhookBody, _asked: Annotated[NoParameters, Query()]) -> Response:
        """In place of the one there was. It is told what happens from now on."""
        caller = caller_of(request)
        check_callable(administration.means, "url", body.url)
        key = secrets.token_hex(HOOK_KEY_BYTES)
        sealed = administration.means.vault.seal(webhook_binding(caller.tenant, body.url), ApiKey(key))
        event = caller.event("webhook.set", "tenant", caller.tenant)
        made = await administration.directory(caller).put_webhook(NewWebhook(body.url, sealed), event)
        await administration.drained()
        return answer(MadeWebhook(made.url, made.created_at, key))

    @router.delete("/webhook", summary="Post events no more", status_code=204)
    async def delete_webhook(request: Request, _asked: Annotated[NoParameters, Query()]) -> Response:
        caller = caller_of(request)
        event = caller.event("webhook.delete", "tenant", caller.tenant)
        await administration.directory(caller).delete_webhook(event)
        await administration.drained()
        return done()

    @router.post("/webhook/test", summary="Post an event that says nothing")
    async def try_webhook(request: Request, _asked: Annotated[NoParameters, Query()]) -> Response:
        caller = caller_of(request)
        hook = await _hook(administration, caller.tenant)
        at = times.rfc3339(times.now())
        told = Told(ids.new("event"), TRIAL, at, caller.tenant, "tenant", caller.tenant, msgspec.Raw(b"{}"))
        problem = await notifying.deliver(hook, told)
        return answer(Delivery(problem is None, problem))

    return router


async def _hook(administration: Administration, tenant: str) -> Hook:
    """Raises `NotThere`."""
    for hook in await administration.operator.webhooks():
        if hook.tenant == tenant:
            return hook
    raise NotThere("there is no webhook")
