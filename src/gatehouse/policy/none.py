"""`ports.Policy` without a rule."""

from __future__ import annotations

from gatehouse.errors import GatehouseError
from gatehouse.model.call import Ask, Principal


class NoRules:
    """Lets everything pass."""

    def enforce(self, principal: Principal, ask: Ask, body: bytes) -> GatehouseError | None:
        return None
