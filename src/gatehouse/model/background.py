"""Responses that a provider generates after the call that began them: OpenAI's `background: true`."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from gatehouse.model.limits import Settled


class Response(NamedTuple):
    """Which one: ids of providers are unique with each of them, and a project's are nobody else's to count."""

    tenant: str
    project: str
    provider: str
    id: str
    """The provider's."""


class Begun(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The call that began one. It is over; what its response will have used, nobody knew."""

    call: str
    at: float
    """When it came, Unix seconds: its prices are those of then."""
    steady: int
    """The same on the machine's monotonic clock, microseconds. Either clock may have been set by the time it counts."""
    prices: str
    """Version of the prices it was decided by."""
    own: bool = False
    """The caller's own provider key pays: it costs the tenant nothing."""
    settled: tuple[Settled, ...] = ()
    """What limits count for it, until it is known."""
