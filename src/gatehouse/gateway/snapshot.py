"""From configuration to a snapshot, and from a snapshot to what the pipeline uses. Pure: no file, no network.

The control plane and a worker's first start build a snapshot by the same function, so a worker never needs control to
serve. Providers and prices come from the configuration, the sections from the directory.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from typing import Final

from gatehouse.auth.access import Access
from gatehouse.auth.injection import Injection
from gatehouse.config.settings import RouteTimeouts, Settings, Timeouts
from gatehouse.gateway.unsealing import Unsealer
from gatehouse.model.access import CredentialEntry
from gatehouse.model.snapshot import SECTIONS, Sections, Snapshot
from gatehouse.pipeline.call import Live, Times
from gatehouse.pricing.cost import Pricing
from gatehouse.pricing.table import table
from gatehouse.providers.entries import entries

FIRST_VERSION: Final = 1
_REMEMBERED: Final = 4096


def build(settings: Settings) -> Snapshot:
    """What the configuration says, without sections. Raises `ConfigError` for what only shows with the built-in
    providers at hand."""
    return Snapshot(version=FIRST_VERSION, providers=entries(settings), prices=table(settings.prices))


def filled(plain: Snapshot, sections: Sections | Snapshot, version: int) -> Snapshot:
    """`plain` with these sections instead of its own."""
    return Snapshot(
        version=version,
        providers=plain.providers,
        prices=plain.prices,
        **{name: getattr(sections, name) for name in SECTIONS},
    )


def live(
    snapshot: Snapshot,
    settings: Settings,
    before: tuple[Snapshot, Live] | None = None,
    *,
    unsealer: Unsealer | None = None,
) -> Live:
    """The snapshot, ready to decide by. `unsealer`: opens stored credentials; `None`: without accounts.

    `before`: what is replaced; prices that stay keep what they looked up. Raises `ConfigError` where stored credentials
    cannot be opened at all.
    """
    same = before is not None and before[0].prices is snapshot.prices
    return Live(
        version=snapshot.version,
        providers=snapshot.providers,
        prices=before[1].prices if before is not None and same else Pricing(snapshot.prices),
        times=timeouts(settings.timeouts, settings.routes) if before is None else before[1].times,
        access=None if unsealer is None else _access(snapshot, unsealer, before[1].access if before else None),
    )


def _access(snapshot: Snapshot, unsealer: Unsealer, before: Access | None) -> Access:
    unsealer.prepare(snapshot.credentials)

    def opened(entry: CredentialEntry) -> Injection | None:
        provider = snapshot.providers.get(entry.provider)
        return None if provider is None else unsealer.open(entry, provider)

    return Access(
        snapshot.tenants,
        snapshot.projects,
        snapshot.keys,
        snapshot.credentials,
        snapshot.issuers,
        opened,
        before,
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
