"""From configuration to a snapshot, and from a snapshot to what the pipeline uses. Pure: no file, no network.

The control plane and a worker's first start build a snapshot by the same function, so a worker never needs control to
serve.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from typing import Final

from gatehouse.config.settings import RouteTimeouts, Settings, Timeouts
from gatehouse.model.snapshot import Snapshot
from gatehouse.pipeline.call import Live, Times
from gatehouse.pricing.cost import Pricing
from gatehouse.pricing.table import table
from gatehouse.providers.entries import entries

FIRST_VERSION: Final = 1
_REMEMBERED: Final = 4096


def build(settings: Settings) -> Snapshot:
    """Raises `ConfigError` for what only shows with the built-in providers at hand."""
    return Snapshot(version=FIRST_VERSION, providers=entries(settings), prices=table(settings.prices))


def live(snapshot: Snapshot, settings: Settings) -> Live:
    """The snapshot, ready to decide by."""
    return Live(
        version=snapshot.version,
        providers=snapshot.providers,
        prices=Pricing(snapshot.prices),
        times=timeouts(settings.timeouts, settings.routes),
    )


def timeouts(general: Timeouts, overrides: tuple[RouteTimeouts, ...]) -> Callable[[str, str | None], Times]:
    """Upstream time-outs by (path received, model asked); the first override that matches counts."""
    plain = Times(general.connect, general.first_byte, general.idle, general.websocket_idle)
    if not overrides:
        return lambda path, model: plain
    compiled = [
        (
            re.compile(fnmatch.translate(override.match)),
            re.compile(fnmatch.translate(override.model)) if override.model is not None else None,
            Times(
                override.connect or general.connect,
                override.first_byte or general.first_byte,
                override.idle or general.idle,
                override.websocket_idle or general.websocket_idle,
            ),
        )
        for override in overrides
    ]
    known: dict[tuple[str, str | None], Times] = {}

    def times(path: str, model: str | None) -> Times:
        key = (path, model)
        found = known.get(key)
        if found is None:
            found = plain
            for route, name, chosen in compiled:
                if route.fullmatch(path) and (name is None or (model is not None and name.fullmatch(model))):
                    found = chosen
                    break
            if len(known) < _REMEMBERED:
                known[key] = found
        return found

    return times
