"""What processes notice by themselves, as `admin` lines of the journal: how it comes to `/api/v1/events`.

Rules: `actor_kind` is `system`; details hold ids, numbers and flags, as of any `admin` line. Whoever writes one sees to
it that the same is not written again and again. A worker writes them into its own lane; the collector puts them into
the store and tells control.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gatehouse.journal.records import Admin
from gatehouse.model.limits import LimitEvent
from gatehouse.store import times
from gatehouse.store.directory import ids

LIMIT_THRESHOLD: Final = "limit.threshold"
LIMIT_EXCEEDED: Final = "limit.exceeded"
CREDENTIAL_REJECTED: Final = "credential.rejected"
KEYS_WANTED: Final = "issuer.keys_wanted"
"""For the control plane alone: a caller's token names a key that the issuer's set lacks."""

_encode = msgspec.json.Encoder().encode


def limit_notice(event: LimitEvent) -> Admin:
    """Use of a limit came to a threshold, or above the cap."""
    details = {
        "counter": event.counter,
        "period": event.period,
        "percent": event.percent,
        "used": event.used,
        "cap": event.cap,
        "hard": event.hard,
    }
    action = LIMIT_EXCEEDED if event.kind == "exceeded" else LIMIT_THRESHOLD
    return _notice(action, "limit", event.limit, event.at, details)


def rejected_notice(credential: str, provider: str, status: int) -> Admin:
    """A provider answered 401 or 403 to a stored credential."""
    told = {"provider": provider, "status": status}
    return _notice(CREDENTIAL_REJECTED, "credential", credential, times.now(), told)


def wanted_notice(issuer: str) -> Admin:
    """An issuer's key set should be fetched anew."""
    return _notice(KEYS_WANTED, "issuer", issuer, times.now(), {})


def _notice(action: str, kind: str, target: str, at: int, details: dict[str, Any]) -> Admin:
    return Admin(
        id=ids.new("event"),
        at=times.rfc3339(at),
        actor_kind="system",
        action=action,
        target_kind=kind,
        target=target,
        details={name: msgspec.Raw(_encode(value)) for name, value in details.items()},
    )
