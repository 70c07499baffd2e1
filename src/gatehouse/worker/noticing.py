"""What a worker notices by itself, put on record: limits, rejected credentials, key sets that lack a key.

Rules: looked for in the sweep, never within a call; the same is told once in a while and not call by call. What the
journal has no room for is dropped: it will be noticed again.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from gatehouse.auth.access import Access
from gatehouse.gateway.notices import limit_notice, rejected_notice, wanted_notice
from gatehouse.journal.lines import JournalError
from gatehouse.journal.records import Admin
from gatehouse.journal.writer import JournalWriter
from gatehouse.limits.claim import Claim
from gatehouse.pipeline.answer import Rejections
from gatehouse.ports import Limits

REJECTED_SECONDS: Final = 60.0
WANTED_SECONDS: Final = 30.0
_log: Final = logging.getLogger(__name__)


class Noticing:
    """Puts on record what one worker notices."""

    def __init__(self, journal: JournalWriter, limits: Limits[Claim], rejections: Rejections) -> None:
        self._journal = journal
        self._limits = limits
        self._rejections = rejections
        self._told: dict[str, float] = {}
        """When a credential, or an issuer, was last told of; seconds, monotonic."""

    def sweep(self, access: Access | None) -> None:
        """Twice a second."""
        for event in self._limits.events():
            self._put(limit_notice(event), event.tenant)
        if access is None:
            return
        now = time.monotonic()
        for tenant, credential, provider, status in self._rejections.take():
            if self._due(credential, now, REJECTED_SECONDS):
                self._put(rejected_notice(credential, provider, status), tenant)
        for issuer in access.identities.take_wanted():
            if self._due(issuer, now, WANTED_SECONDS):
                self._put(wanted_notice(issuer), access.tenant_of(issuer))

    def _due(self, name: str, now: float, seconds: float) -> bool:
        if now - self._told.get(name, -seconds) < seconds:
            return False
        self._told[name] = now
        return True

    def _put(self, notice: Admin, tenant: str) -> None:
        try:
            self._journal.append("admin", notice, tenant)
        except JournalError as error:
            _log.warning("a notice found no room: %s", error)
