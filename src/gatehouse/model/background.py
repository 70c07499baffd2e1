"""Responses that a provider generates after the call that began them: OpenAI's `background: true`."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import msgspec

from gatehouse.model.limits import Settled

MOST: Final = 4096
"""Calls of a project that are kept until somebody has read their responses: the newest."""
KEPT_SECONDS: Final = 30 * 86_400
"""As long as OpenAI stores a response, unless it is told otherwise."""


class Response(NamedTuple):
    """Which one: ids of providers are unique with each of them, and a project's are nobody else's to count."""

    tenant: str
    project: str
    provider: str
    id: str
    """The provider's."""

    @property
    def place(self) -> tuple[str, str]:
        """Digests of the project, its tenant included, and of the response within it: 32 hex digits each."""
        return _digest(self.tenant, self.project), _digest(self.provider, self.id)


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


def _digest(*ids: str) -> str:
    return hashlib.sha256("\0".join(ids).encode(errors="backslashreplace")).hexdigest()[:32]
