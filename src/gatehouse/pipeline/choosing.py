"""What follows from the model a call names: whether its key may ask for it, and on the unified API its provider.

Rules: a project's own choice alone; what it has not bound is never reached. A key that may ask for only some models
sees no others in lists.
"""

from __future__ import annotations

from urllib.parse import unquote

from gatehouse import errors
from gatehouse.auth.access import Grant
from gatehouse.errors import GatehouseError
from gatehouse.model.call import Ask, Route
from gatehouse.pipeline.call import Call
from gatehouse.routing.unified import AZURE, Chosen, azure_route, choose, route_to


def towards(call: Call, ask: Ask) -> tuple[Route, Chosen]:
    """The whole route, and what was chosen. Raises `GatehouseError`."""
    grant, live = call.facts.grant, call.live
    if grant is None:
        raise GatehouseError(errors.NOT_FOUND, "the unified API needs accounts (gatehouse init)")
    model = call.route.model or ask.model
    if call.route.provider == AZURE:
        chosen = Chosen(AZURE, model, renamed=False)
    else:
        try:
            chosen = choose(call.route, model, live.providers, grant.usable, live.prices.lists)
        except GatehouseError as error:
            if error.kind is not errors.NO_CREDENTIAL or grant.providers is None:
                raise
            alone = ", ".join(sorted(grant.providers))
            raise GatehouseError(error.kind, f"{error.detail} (this gateway key reaches {alone} alone)") from None
    known = call.facts.ways.get(chosen.provider)
    if known is not None:
        return known.route, chosen
    origins = {each.origin for each in grant.stored(chosen.provider, None)}
    if call.route.provider == AZURE:
        return azure_route(call.route, live.providers.get(AZURE), origins), chosen
    return route_to(call.route, live.providers[chosen.provider], call.exchange.head.method == b"POST", origins), chosen


def may_reach_kept(call: Call) -> bool:
    """Whether the credential that serves may be used for what the provider keeps: no other project's is there."""
    stored, grant = call.stored, call.facts.grant
    return stored is None or grant is None or not stored.shared or stored.exclusive == grant.project.entry.id


def check_model(call: Call, grant: Grant, model: str | None) -> None:
    """For a key that may not ask for every model. Raises `GatehouseError`: 403, for a WebSocket 426.

    What runs no model needs to name none.
    """
    if model is None and call.route.endpoint == "models":
        _, _, name = call.route.path.rpartition("/models")
        model = unquote(name[1:]) or None
        call.lists_models = model is None and call.exchange.head.method == b"GET"
    row = call.way.row
    if model is None and not call.lists_models and (row is None or row.cost != "free"):
        raise GatehouseError(
            errors.UPGRADE_UNSUPPORTED if call.exchange.upgrade else errors.MODEL_DENIED,
            "this gateway key may ask for some models only, and the request does not show, once and plainly, which one",
        )
    if model is not None and not grant.may_model(model):
        raise GatehouseError(errors.MODEL_DENIED, f"this gateway key may not ask for the model {model}")
