"""Protocols between the layers: what the pipeline asks of the world.

Rules: no implementation, no import of one. The plain implementations stand in the layers named beside each port;
a later capability (limits, policy, routing) replaces one of them and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from gatehouse.errors import GatehouseError
from gatehouse.model.background import Begun, Response
from gatehouse.model.call import Ask, Principal
from gatehouse.model.limits import Bound, Clamp, LimitEntry, LimitEvent, Settled
from gatehouse.model.moment import Moment
from gatehouse.model.prices import Ceiling, Maxima
from gatehouse.model.record import Capture, Decision, Outcome, Refusal
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
        """Append a call that ended before forwarding; under the flood rule, stricter where nobody is known."""

    def capture(self, tenant: str, parts: Sequence[Capture]) -> None:
        """Append the parts of one captured body."""


class Meter(Protocol):
    """Watches one answer's body (`dialects`). Sees copies; may raise anything; never touches the stream."""

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


ClaimT = TypeVar("ClaimT", contravariant=True)
"""One call's state on the limits (`limits.claim.Claim`): nothing to the ports."""


class Limits(Protocol[ClaimT]):
    """Rates, concurrency, spend (`limits`; `docs/limits.md`).

    `admit`, `reserve`, then `settle`; or `withdraw` instead, if the call ends before it is forwarded. In one process
    everything is synchronous; where a shared ledger must be asked, `admit` and `reserve` return an awaitable. `settle`
    and `withdraw` never wait. Each may be called again: once a call is settled or withdrawn, both do nothing. What is
    known later `correct` says, in whichever process.
    """

    @property
    def active(self) -> bool:
        """False: nothing is limited, and nothing below need be called."""

    def configure(self, entries: Mapping[str, LimitEntry], now: Moment) -> None:
        """The limits from now on, by id. Counters keep what they counted; running calls keep what they hold."""

    def admit(self, claim: ClaimT, now: Moment) -> GatehouseError | None | Awaitable[GatehouseError | None]:
        """Count the call against request rates and concurrency: all of them, or none and the error to answer."""

    def reserve(
        self, claim: ClaimT, bound: Bound, now: Moment
    ) -> GatehouseError | Clamp | None | Awaitable[GatehouseError | Clamp | None]:
        """Hold the worst case of tokens and spend: all or none. Then `claim.reserved` is for the decision.

        Called again with a dearer bound, before a fallback to a dearer candidate: the difference is held too.
        """

    def settle(
        self, claim: ClaimT, tokens: int | None, cost: int | None, now: Moment, *, estimated: bool = False
    ) -> None:
        """The call is over and used this. Then `claim.settled` is for the outcome.

        `None`: nobody knows; what was never used (an error of the provider) is 0. `estimated`: the figures are, of
        what was seen; a limit that goes by the bound then counts no less than was reserved.
        """

    def withdraw(self, claim: ClaimT, now: Moment) -> None:
        """The call ends without having been forwarded: it stays counted against request rates, and holds nothing."""

    def correct(self, changes: Sequence[Settled], ago: int, now: Moment) -> None:
        """A call that was settled before, in whichever process, used this much more, or less. `ago`: microseconds since
        it was admitted, rather too many than too few."""

    def lines(self, claim: ClaimT, now: Moment) -> bytes:
        """Header lines that tell the caller where it stands (`docs/limits.md`)."""

    def events(self) -> Sequence[LimitEvent]:
        """What happened since the last time, to be told; forgotten here."""


class Background(Protocol):
    """Which calls began responses that are generated in the background (`gateway.background`).

    What cannot be kept, or looked up, is not there: that is no error.
    """

    async def keep(self, response: Response, begun: Begun) -> None:
        """Remember a call until somebody takes it, for as long as the provider may keep the response."""

    async def take(self, response: Response) -> Begun | None:
        """The call that began a response; of all who ask, one is told."""


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

    def lists(self, provider: str, model: str) -> bool:
        """Whether the price of a provider's model is known."""

    def tools(self, provider: str, model: str, tools: ToolUses, at: float | None = None) -> tuple[int, tuple[str, ...]]:
        """What the provider's own tools cost, in nano-dollars, and those that nobody knows the price of."""

    def ceiling(self, provider: str, model: str, prompt: int, at: float | None = None) -> Ceiling | None:
        """The dearest that a call with a prompt of at most so many tokens can be; `None` if nobody knows the price.

        `cost` with the same `at` is never above it.
        """

    def maxima(self, provider: str, model: str) -> Maxima:
        """What a model takes and gives at most, as far as anybody says."""
