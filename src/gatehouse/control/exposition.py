"""`/metrics`: the figures in Prometheus's text format, or in OpenMetrics where the scraper asks for it.

Rules: made in a thread, for with a thousand models it takes a while; no figure is kept between scrapes.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable
from typing import Final

from fastapi import APIRouter, Request
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from gatehouse import __version__
from gatehouse.collector.tally import Tally
from gatehouse.config.build import compiled
from gatehouse.config.loads import Loads
from gatehouse.control.health import Health
from gatehouse.control.metrics import Page

_OPENMETRICS: Final = "application/openmetrics-text"


def routes(health: Callable[[], Health], tally: Tally, loads: Loads) -> APIRouter:
    """The route. It is no part of the JSON API, and not of its description."""
    router = APIRouter(include_in_schema=False)
    built = compiled()

    def page(now: Health) -> Page:
        made = Page()
        made.calls(tally)
        made.workers(loads.gauges(), time.monotonic_ns())
        made.health(now)
        made.build(__version__, platform.python_version(), compiled=built)
        return made

    @router.head("/metrics")
    @router.get("/metrics")
    async def show_metrics(request: Request) -> Response:
        """200, whatever is wrong: that is what the figures say."""
        now = health()
        asked = {each.partition(";")[0].strip().lower() for each in request.headers.get("accept", "").split(",")}
        # Not what was sent: the library takes versions from it, and fails on some.
        encode, media = choose_encoder(_OPENMETRICS if _OPENMETRICS in asked else "")
        body = await asyncio.to_thread(lambda: encode(page(now)))
        return Response(body, headers={"content-type": media, "cache-control": "no-store"})

    return router
