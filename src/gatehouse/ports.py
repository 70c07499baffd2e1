"""Protocols between the layers: what the pipeline asks of the world.

Rules: no implementation, no import of one. The plain implementations stand in the layers named beside each port;
a later capability (limits, policy, routing) replaces one of them and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from gatehouse.errors import GatehouseError
from gatehouse.model.call import Ask, Principal, Route
from gatehouse.model.record import Candidate, Capture, Decision, Outcome, Refusal
from gatehouse.model.usage import Reading, ToolUses, Usage

Written = Callable[[GatehouseError | None], None]
"""Called once, on the event loop: with `None` when the line is durable, with the error when it could not be written."""


class Journal(Protocol):
    """The durable record (`journal`). Nothing here awaits: the caller is called back, or need not know."""

    def decide(self, tenant: str, decision: Decision, written: Written) -> None:
        """Append a decision; `written` runs when calls may go on (I2). An error means: forward nothing."""

    def conclude(self, tenant: str, outcome: Outcome) -> None:
        """Append the one outcome of a decided call. Cannot fail for want of room: a reserve is kept for it."""

    def refuse(self, tenant: str, refusal: Refusal, *, authenticated: bool) -> None:
        """Append a call that ended before forwarding; under the flood rule if nobody was authenticated."""

    def capture(self, tenant: str, parts: Sequence[Capture]) -> None:
        """Append the parts of one captured body."""


class Meter(Protocol):
    """Watches one answer's body (`dialects`). Sees copies; may raise anything; never touches the stream (habit 8)."""

    first_token: bool
    """Becomes true with the first generated content."""

    @property
    def ended(self) -> bool:
        """The dialect's own last word has come: whatever the wire still brings, the answer is whole."""

    def feed(self, data: bytes) -> None:
        """The next piece of the body, content-decoded, split anywhere."""

    def finish(self, *, complete: bool) -> Reading:
        """What was found. `complete`: the provider ended the body properly."""


class Filter(Protocol):
    """Changes an answer on its way (today only: taking asked-for usage out again)."""

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes:
        """What was held back."""


class Limits(Protocol):
    """Rates, concurrency, spend (`limits`). Synchronous in a single process; an awaitable result is awaited."""

    def admit(self, principal: Principal, route: Route) -> GatehouseError | None: ...

    def reserve(
        self, principal: Principal, ask: Ask, candidates: Sequence[Candidate]
    ) -> GatehouseError | None | Awaitable[GatehouseError | None]: ...

    def settle(self, principal: Principal, usage: Usage | None, cost: int | None) -> None: ...


class Policy(Protocol):
    """Rules on what is asked (`policy`)."""

    def enforce(self, principal: Principal, ask: Ask, body: bytes) -> GatehouseError | None: ...


class Prices(Protocol):
    """What a call cost (`pricing`)."""

    version: str

    def cost(self, provider: str, model: str, usage: Usage, at: float | None = None) -> tuple[int, str] | None:
        """Nano-dollars and the id of the price used; `None` if nobody knows the price.

        `at`: Unix time of the decision, for prices that change by date or hour; now, if not given.
        """

    def tools(self, provider: str, model: str, tools: ToolUses, at: float | None = None) -> tuple[int, tuple[str, ...]]:
        """What the provider's own tools cost, in nano-dollars, and those that nobody knows the price of."""
