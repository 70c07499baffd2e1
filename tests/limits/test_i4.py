"""I4: a cap is a cap. Whatever callers, clocks, limits and restarts do, in any order.

The machine keeps its own books, by what claims said they reserved and settled and by its own times: nothing it checks
against comes from the ledger. It knows three clocks: the true one, the wall's (which may be set back) and the steady
one (which begins anew with each worker).

Not tested here: use above a bound, and limits that settle by estimates. Both exceed a cap by what nobody knew before.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from datetime import UTC, datetime

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from gatehouse import errors
from gatehouse.errors import GatehouseError
from gatehouse.limits.claim import Claim
from gatehouse.limits.local import LocalLimits
from gatehouse.model.limits import Bound, Clamp, LimitEntry, Reserved, Settled
from gatehouse.model.moment import Moment
from tests.limits.limited import DAY, HOUR, MINUTE, NOON, SECOND, entry

MONTH_END = NOON + 9 * DAY + 12 * HOUR
POSSIBLE = (
    entry("requests", "minute", 6),
    entry("requests", "hour", 15, scope="project", scope_id="prj"),
    entry("requests", "minute", 4, scope="tenant", scope_id="ten", id="soft_requests", hard=False),
    entry("concurrency", "now", 9, scope="project", scope_id="prj"),
    entry("concurrency", "now", 5),
    entry("tokens", "minute", 2000),
    entry("tokens", "day", 8000, scope="tenant", scope_id="ten"),
    entry("spend", "day", 3000),
    entry("spend", "day", 2500, id="clamping", at_cap="clamp"),
    entry("spend", "month", 9000, scope="project", scope_id="prj", max_reserved_share=60),
    entry("spend", "total", 9_000, scope="model", scope_id="gpt-4o", max_reserved_share=50),
    entry("spend", "month", 2000, scope="tenant", scope_id="ten", id="soft_spend", hard=False),
    entry("spend", "day", 5000, scope="credential", scope_id="crd", assumed=700, max_reserved_share=80),
    entry("spend", "day", 4000, scope="user", scope_id="usr_1", at_cap="clamp"),
)


@dataclasses.dataclass
class Asked:
    """One call to come. Sizes that add up to the caps, and nearly."""

    key: str
    user: str | None
    prompt: int
    output: int
    known: bool
    """Whether anybody knows what it may cost."""


ASKED = (
    st.sampled_from(["key_a", "key_a", "key_b", "key_c"]),
    st.sampled_from([None, "usr_1"]),
    st.sampled_from([0, 1, 99, 100, 101, 200]),
    st.sampled_from([0, 0, 100, 300, 600, 1400]),
    st.sampled_from([True] * 9 + [False]),
)


@dataclasses.dataclass(eq=False)
class Call:
    """One call, by the machine's own books."""

    claim: Claim
    wall: int
    """When it reserved, on the wall's clock."""
    steady: int
    doors: tuple[str, ...]
    """Counters of concurrency that there were when it was admitted."""
    bound: Bound
    worker: LocalLimits
    """Whose claim it is."""
    tokens: dict[str, list[tuple[int, int]]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    """By counter: (true time, tokens) as reserved, then as settled."""
    running: bool = True

    def holds(self) -> tuple[Reserved | Settled, ...]:
        return self.claim.reserved if self.running else self.claim.settled


class Caps(RuleBasedStateMachine):
    """One worker's limits."""

    running = Bundle("running")
    ended = Bundle("ended")

    def __init__(self) -> None:
        super().__init__()
        self.true = 0
        self.wall = MONTH_END - 2 * HOUR
        self.steady = 10 * DAY
        self.set_back = False
        self.price = 1
        self.entries: dict[str, LimitEntry] = {}
        self.limits = LocalLimits()
        self.calls: list[Call] = []
        self.admitted: dict[str, list[tuple[int, int]]] = defaultdict(list)
        """By counter of requests: (true time, wall's time)."""
        self.above: dict[tuple[str, str], int] = {}
        """How far a (limit, period) was used when its cap was set: above the cap it may only fall."""

    # -- books

    def now(self) -> Moment:
        return Moment(self.wall, self.steady)

    def pass_(self, microseconds: int) -> None:
        self.true += microseconds
        self.wall += microseconds
        self.steady += microseconds

    def levels(self) -> dict[tuple[str, str], int]:
        """Settled and reserved, by (counter of spend, period)."""
        found: dict[tuple[str, str], int] = defaultdict(int)
        for call in self.calls:
            for held in call.holds():
                if "/spend/" in held.counter:
                    found[held.counter, held.period] += held.amount
        return found

    def at_once(self, counter: str) -> int:
        return sum(call.running and counter in call.doors for call in self.calls)

    def matching(self, claim: Claim) -> list[LimitEntry]:
        ids = {
            "tenant": claim.tenant, "project": claim.project, "key": claim.key, "user": claim.user,
            "model": claim.model, "credential": claim.credential,
        }  # fmt: skip
        return [one for one in self.entries.values() if ids[one.scope] == one.scope_id]

    def within(self, counted: list[tuple[int, int]], length: int) -> int:
        """What was counted in the interval of that length that ends now, both ends included."""
        return sum(amount for time, amount in counted if time >= self.true - length)

    def tokens_of(self, counter: str) -> list[tuple[int, int]]:
        return [piece for call in self.calls for piece in call.tokens.get(counter, ())]

    # -- limits

    @initialize(chosen=st.lists(st.sampled_from(POSSIBLE), min_size=5, unique_by=lambda one: one.id))
    def begin(self, chosen: list[LimitEntry]) -> None:
        self.entries = {one.id: one for one in chosen}
        self.limits.configure(self.entries, self.now())

    @rule(changed=st.sampled_from(POSSIBLE), percent=st.sampled_from([0, 50, 70, 100, 100, 130]))
    def limit_changes(self, changed: LimitEntry, percent: int) -> None:
        self.entries = {**self.entries, changed.id: msgspec.structs.replace(changed, cap=changed.cap * percent // 100)}
        self._configured(changed.id)

    @rule(again=st.sampled_from(POSSIBLE))
    def limit_is_deleted_and_made_anew(self, again: LimitEntry) -> None:
        """It frees nothing: the books do not even know."""
        if again.id in self.entries:
            known = self.entries[again.id]
            self.limits.configure({one: kept for one, kept in self.entries.items() if one != again.id}, self.now())
            self.entries = {**self.entries, again.id: msgspec.structs.replace(known)}
            self.limits.configure(self.entries, self.now())

    @rule(gone=st.sampled_from(POSSIBLE))
    def limit_goes(self, gone: LimitEntry) -> None:
        self.entries = {one: kept for one, kept in self.entries.items() if one != gone.id}
        self._configured(gone.id)

    def _configured(self, limit: str) -> None:
        self.limits.configure(self.entries, self.now())
        self.above = {known: used for known, used in self.above.items() if known[0] != limit}
        if limit in self.entries:
            counter = self.entries[limit].counter
            self.above |= {(limit, period): used for (name, period), used in self.levels().items() if name == counter}
            self.above[limit, "now"] = self.at_once(counter)

    # -- calls

    @rule(target=running, asked=st.lists(st.builds(Asked, *ASKED), min_size=1, max_size=4))
    def calls_begin(self, asked: list[Asked]) -> object:
        return multiple(*[call for one in asked if (call := self._begin(one)) is not None])

    def _begin(self, asked: Asked) -> Call | None:
        claim = Claim("ten", "prj", asked.key, asked.user, "gpt-4o", "crd")
        self._still_told(claim)
        refused = self.limits.admit(claim, self.now())
        if refused is not None:
            self._rightly(refused, claim)
            return None
        entries = self.matching(claim)
        for one in entries:
            if one.measure == "requests":
                self.admitted[one.counter].append((self.true, self.wall))
                times = [(time, 1) for time, _ in self.admitted[one.counter]]
                length = {"minute": MINUTE, "hour": HOUR}[one.window]
                assert not one.hard or self.within(times, length) <= one.cap, "I4: a rate is a rate"
        tokens = asked.prompt + asked.output
        growing = asked.output * self.price if asked.known else 0
        bound = Bound(tokens, tokens * self.price if asked.known else None, None, asked.output, asked.output, growing)
        doors = tuple({one.counter for one in entries if one.measure == "concurrency"})
        call = Call(claim, self.wall, self.steady, doors, bound, self.limits)
        self.calls.append(call)
        if self._reserve(call, bound):
            return call
        self.limits.withdraw(claim, self.now())
        call.running = False
        claim.reserved = ()
        return None

    def _reserve(self, call: Call, bound: Bound) -> bool:
        before = call.claim.reserved
        answer = self.limits.reserve(call.claim, bound, self.now())
        if isinstance(answer, GatehouseError):
            self._rightly(answer, call.claim)
            assert call.claim.reserved == before, "all or none"
            return False
        if isinstance(answer, Clamp):
            assert 256 <= answer.max_output < bound.max_output
        if bound.cost is None:
            hard = [one for one in self.matching(call.claim) if one.hard and one.measure == "spend"]
            assert all(one.assumed is not None for one in hard), "I4: no finite bound, no call"
        call.bound = bound
        today = datetime.fromtimestamp(call.wall / SECOND, UTC)
        named = {"day": f"{today:%Y-%m-%d}", "month": f"{today:%Y-%m}"}
        for held in call.claim.reserved:
            assert held.period == named.get(held.counter.rsplit("/", 1)[1], "") or "/tokens/" in held.counter
        self._reserved(call, {held.counter: held.amount for held in before})
        return True

    def _reserved(self, call: Call, before: dict[str, int]) -> None:
        for held in call.claim.reserved:
            if "/tokens/" in held.counter:
                more = held.amount - before.get(held.counter, 0)
                call.tokens[held.counter].append((self.true, more))
                for one in self.entries.values():
                    if one.counter == held.counter and one.hard and more:
                        length = MINUTE if one.window == "minute" else DAY
                        assert self.within(self.tokens_of(held.counter), length) <= one.cap, "I4: tokens are a rate"

    def _rightly(self, refused: GatehouseError, claim: Claim) -> None:
        """What a refusal says is true, by these books."""
        assert refused.facts is not None
        said = refused.facts["limit"]
        assert isinstance(said, dict)
        one = self.entries[said["id"]]
        assert one in self.matching(claim) and one.hard and said["cap"] == one.cap
        if refused.kind is errors.UNBOUNDED_COST:
            assert one.measure == "spend" and one.assumed is None
        elif one.measure == "concurrency":
            assert said["reserved"] >= self.at_once(one.counter) and said["reserved"] >= one.cap
        elif one.measure == "spend":
            used = said["spent"] + said["reserved"]
            shared = one.scope not in ("key", "user")
            assert used + said["needed"] > one.cap or shared
            assert used in {used for (name, _), used in self.levels().items() if name == one.counter} | {0}

    @rule(call=running, times=st.sampled_from([1, 2, 3]))
    def dearer_candidate(self, call: Call, times: int) -> None:
        old = call.bound
        if not call.running or old.cost is None or call.claim.project != "prj":
            return  # ended; without a price; or its worker died
        bound = Bound(old.tokens, old.cost * times, None, old.max_output, old.output_tokens, old.output_cost * times)
        self._reserve(call, bound)

    @rule(
        target=ended,
        call=consumes(running),
        part=st.floats(0, 1),
        how=st.sampled_from(["known", "known", "estimated", "unknown", "failed", "left"]),
        again=st.booleans(),
    )
    def call_ends(self, call: Call, part: float, how: str, again: bool) -> object:
        if not call.running:
            return multiple()
        if how == "left":
            self.limits.withdraw(call.claim, self.now())
            call.claim.reserved = ()
        elif how == "unknown":
            self.limits.settle(call.claim, None, None, self.now())
        elif how == "failed":
            self.limits.settle(call.claim, 0, 0, self.now())
        else:
            tokens, cost = self._used(call, part)
            self.limits.settle(call.claim, tokens, cost, self.now(), estimated=how == "estimated")
            truth = {"tokens": tokens, "spend": cost}
            for held in call.claim.settled:
                assert how == "estimated" or held.amount == truth[held.counter.split("/")[-2]]
        if how == "unknown":
            assert [one.amount for one in call.claim.settled] == [held.amount for held in call.claim.reserved]
        if again:
            self.limits.settle(call.claim, 1, 1, self.now())
            self.limits.withdraw(call.claim, self.now())
        call.running = False
        self._settled(call)
        return multiple() if how == "left" else call

    def _used(self, call: Call, part: float) -> tuple[int, int]:
        """A truth that is within what every limit holds of it."""
        held = call.claim.reserved
        tokens = [one.amount for one in held if "/tokens/" in one.counter]
        cost = [one.amount for one in held if "/spend/" in one.counter]
        return int(min(tokens, default=9) * part), int(min(cost, default=9) * part)

    def _settled(self, call: Call) -> None:
        """Tokens count where they were reserved, oldest first."""
        truth = {held.counter: held.amount for held in call.claim.settled}
        for counter, pieces in call.tokens.items():
            left = truth.get(counter, 0)
            for index, (time, amount) in enumerate(pieces):
                counted = min(left, amount) if index < len(pieces) - 1 else left
                pieces[index] = (time, counted)
                left -= counted

    @rule(call=consumes(ended), part=st.floats(0, 1))
    def report_corrects(self, call: Call, part: float) -> None:
        """Also the call of a worker that died. By one clock or the other it is known how long ago it was."""
        if call.worker is not self.limits and self.set_back:
            return
        ago = max(0, self.wall - call.wall, self.steady - call.steady)
        held = call.claim.settled
        told = [msgspec.structs.replace(one, amount=int(one.amount * part)) for one in held]
        changes = [
            Settled(now.counter, now.period, 0, now.amount - was.amount) for was, now in zip(held, told, strict=True)
        ]
        self.limits.correct(changes, ago, self.now())
        call.claim.settled = tuple(told)
        self._settled(call)

    @rule(price=st.integers(1, 2))
    def price_changes(self, price: int) -> None:
        """A call keeps the one it was decided by: only what begins later sees it."""
        self.price = price

    # -- time, and the worker's death

    @rule(gap=st.sampled_from([1, 20 * SECOND, 59 * SECOND + SECOND // 2, MINUTE, 61 * SECOND, 2 * HOUR]))
    def time_passes(self, gap: int) -> None:
        self.pass_(gap)

    @rule()
    def month_ends(self) -> None:
        self.pass_(MONTH_END - self.wall if self.wall < MONTH_END else DAY)

    @rule()
    def clock_is_set_back(self) -> None:
        self.wall -= HOUR
        self.set_back = True

    @rule(base=st.integers(0, 100 * DAY))
    def worker_dies(self, base: int) -> None:
        """Another takes over what journal and store say. What ran is `interrupted`: nobody knows what it used."""
        self.steady = base
        settled: dict[tuple[str, str], int] = defaultdict(int)
        recent: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for call in self.calls:
            call.doors = ()
            if call.running:
                call.running = False
                held = call.claim.reserved
                call.claim.settled = tuple(Settled(one.counter, one.period, one.amount, one.amount) for one in held)
            for one in call.claim.settled:
                if "/spend/" in one.counter:
                    settled[one.counter, one.period] += one.amount
                else:
                    recent[one.counter].append((call.wall, one.amount))
        for counter, times in self.admitted.items():
            recent[counter] = [(wall, 1) for _, wall in times]
        self.limits = LocalLimits()
        self.limits.configure(self.entries, self.now())
        self.limits.restore(settled, recent, self.now())

    # -- what always holds

    @invariant()
    def a_cap_is_a_cap(self) -> None:
        levels = self.levels()
        for limit, one in self.entries.items():
            if not one.hard:
                continue
            used = {period: used for (name, period), used in levels.items() if name == one.counter}
            if one.measure == "concurrency":
                used = {"now": self.at_once(one.counter)}
            for period, level in used.items():
                if one.measure in ("spend", "concurrency"):
                    before = self.above.get((limit, period), 0)
                    assert level <= max(one.cap, before), f"I4: {level} of {one.cap} ({before} before)"
                    self.above[limit, period] = min(before, level)

    def _still_told(self, claim: Claim) -> None:
        """Callers may be told where they stand at any time."""
        lines = self.limits.lines(claim, self.now())
        assert lines == b"" or lines.startswith(b"x-gatehouse-ratelimit-") and lines.endswith(b"\r\n")
        self.limits.events()

    def teardown(self) -> None:
        """After quiescence nothing is reserved: each limit alone has left what nobody used."""
        for call in self.calls:
            if call.running:
                self.limits.settle(call.claim, None, None, self.now())
                call.running = False
                self._settled(call)
        self.a_cap_is_a_cap()
        levels = self.levels()
        for one in POSSIBLE:
            if one.hard and one.id in self.entries:
                cap = 10**12
                self.limits.configure({one.id: msgspec.structs.replace(one, cap=cap)}, self.now())
                lines = self.limits.lines(Claim("ten", "prj", "key_a", "usr_1", "gpt-4o", "crd"), self.now())
                left = cap - int(lines.split(b"remaining")[1].split(b" ")[1].split(b"\r\n")[0])
                if one.measure == "concurrency":
                    assert left == 0
                elif one.measure == "spend":
                    assert left in {used for (name, _), used in levels.items() if name == one.counter} | {0}
        for tenant in self.limits._ledger.tenants.values():
            for counters in tenant.counters.values():
                for counter in counters:
                    balances = [*getattr(counter, "_balances", {}).values(), getattr(counter, "only", None)]
                    assert not any(balance is not None and (balance.held or balance.shares) for balance in balances)


TestCaps = Caps.TestCase
TestCaps.settings = settings(max_examples=200, stateful_step_count=50, suppress_health_check=list(HealthCheck))
