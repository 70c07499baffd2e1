"""`ports.Limits` without a limit: what holds while no gateway keys and no caps exist."""

from __future__ import annotations

from collections.abc import Sequence

from gatehouse.errors import GatehouseError
from gatehouse.model.call import Ask, Principal, Route
from gatehouse.model.record import Candidate
from gatehouse.model.usage import Usage


class Unlimited:
    """Admits everything, reserves and settles nothing."""

    def admit(self, principal: Principal, route: Route) -> GatehouseError | None:
        return None

    def reserve(self, principal: Principal, ask: Ask, candidates: Sequence[Candidate]) -> GatehouseError | None:
        return None

    def settle(self, principal: Principal, usage: Usage | None, cost: int | None) -> None:
        return None
