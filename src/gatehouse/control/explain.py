"""`/api/v1/analytics/explain`: what changed when spend, latency or errors did."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, Field
from starlette.responses import Response

from gatehouse.control.analytics import WindowParameters
from gatehouse.control.answers import FieldError, InputError, answer
from gatehouse.control.caller import caller_of
from gatehouse.control.export import export, in_pieces
from gatehouse.control.parameters import at, form_of, moment_or_ago, once
from gatehouse.store import explain, times
from gatehouse.store.explain import BASELINES, Compared, Contribution, Metric
from gatehouse.store.reading import Readers

PATIENCE_SECONDS: Final = 9.0
"""After this no further question is begun: the last one may take 20 s more, and a worker gives up after 30."""
_SEVERAL: Final = frozenset({"outcome"})
_FORMS: Final = ", ".join(f"`{name}`" for name in BASELINES)


def _baseline(value: str) -> str:
    if value in BASELINES:
        return value
    since, slash, until = value.partition("/")
    if not slash:
        raise ValueError(f"neither of {_FORMS} nor two times with `/` between them")
    for each in (since, until):
        moment_or_ago(each)
    return value


class ExplainParameters(WindowParameters):
    """Which calls are compared with which."""

    metric: Annotated[Metric, Field(description="What changed.")]
    baseline: Annotated[
        str,
        AfterValidator(_baseline),
        Field(
            description="Compared with: `previous`, the window of the same length just before; `day` or `week`, the "
            "same hours so long ago; or two times as in `from`, with `/` between them."
        ),
    ] = "previous"
    limit: Annotated[int, Field(ge=1, le=100, description="Values told one by one, of each dimension.")] = 10

    def compared(self, now: int) -> Compared:
        """In the store's words. Raises `InputError`."""
        asked = self.asked(now)
        if self.baseline in BASELINES:
            since, until = explain.baseline(self.baseline, asked.since, asked.until)
        else:
            since, until = (at(each, now) for each in self.baseline.split("/"))
        if since >= until:
            raise InputError(FieldError("baseline", "ends before it begins"))
        return Compared(
            since=asked.since,
            until=asked.until,
            base_since=since,
            base_until=until,
            filter=asked.filter,
            limit=self.limit,
        )


def routes(readers: Readers) -> APIRouter:
    """The route over the calls that the caller may see."""
    router = APIRouter(prefix="/api/v1/analytics", tags=["analytics"])

    @router.get("/explain", summary="What changed when a figure did", name="analytics_explain")
    async def show_explanation(request: Request, asked: Annotated[ExplainParameters, Query()]) -> Response:
        """Which providers, models, keys and so on account for the change, the largest contribution first."""
        once(request, _SEVERAL)
        analytics = await readers.analytics(caller_of(request).sight)
        found = await explain.explain(analytics, asked.metric, asked.compared(times.now()), patience=PATIENCE_SECONDS)
        form = form_of(request, asked.format)
        if form == "json":
            return answer(found)
        return export(form, "explain", Contribution, in_pieces(found.items))

    return router
