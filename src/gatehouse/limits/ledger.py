"""All counters of a worker, and which of them a call has.

What lives here: counters by name and by what they limit, and how limits that change reach them. What does not: a call's
steps through them (`local`, `shared.limits`), how one counter counts (`counters`, `funds`).

Rules
- No `await` anywhere: each method is one step that nothing interleaves with.
- Counters are found by tenant first (I6), then by what they limit. A call's set of them is remembered per tenant, for
  as long as no limit of the tenant changes.
- A counter outlives its limits until it has nothing to remember: making a deleted limit anew frees nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gatehouse.limits.calendar import Calendar
from gatehouse.limits.claim import Claim
from gatehouse.limits.counters import Concurrency, Counter, Door, Notices, Requests
from gatehouse.limits.funds import Fund, Hold, Spend, Tokens
from gatehouse.model.limits import LimitEntry, check, of_counter
from gatehouse.model.moment import Moment

_COLLECTION: Final = "models/"
_PLANS: Final = 32_768
"""Beyond this many, a tenant's plans are forgotten."""

Key = tuple[str, str | None, str | None, str | None, str | None]


class Plan:
    """The counters of calls that are alike: same project, key, user, model and credential."""

    __slots__ = ("doors", "funds", "measures")

    def __init__(self, doors: tuple[Door, ...], funds: tuple[Fund, ...]) -> None:
        self.doors = doors
        self.funds = funds
        measures: dict[str, list[Counter]] = {}
        for counter in (*doors, *funds):
            measures.setdefault(counter.measure, []).append(counter)
        self.measures = tuple(measures.values())
        """All of them, by what they measure."""


class Pledge:
    """What one call holds."""

    __slots__ = ("holder", "holds", "over", "plan")

    def __init__(self, plan: Plan, holder: str) -> None:
        self.plan = plan
        self.holder = holder
        self.holds: list[Hold] = []
        """One per fund of the plan, once it has reserved."""
        self.over = False


class Tenant:
    """One tenant's counters."""

    __slots__ = ("counters", "models", "plans", "users")

    def __init__(self) -> None:
        self.counters: dict[tuple[str, str], list[Counter]] = {}
        """By what they limit: (scope, id)."""
        self.models: set[str] = set()
        """Those that are limited, `folded`. Callers may name any, and tokens any user: others make no plans."""
        self.users: set[str] = set()
        self.plans: dict[Key, Plan | None] = {}

    def plan(self, key: Key, tenant: str) -> Plan | None:
        """`None`: nothing limits such a call."""
        found = [counter for scope in scopes(tenant, *key) for counter in self.counters.get(scope, ())]
        doors = tuple(counter for counter in found if isinstance(counter, Door))
        funds = tuple(counter for counter in found if isinstance(counter, Fund))
        plan = Plan(doors, funds) if found else None
        if len(self.plans) >= _PLANS:
            self.plans.clear()
        self.plans[key] = plan
        return plan


def folded(model: str) -> str:
    """A model as limits tell them apart: not by capitals, nor by the `models/` that Google writes before its names."""
    return model.lower().removeprefix(_COLLECTION)


def unprefixed(model: str | None) -> str | None:
    """The model of `provider:model`; `None` where no provider is named. A limit on the one holds for the other."""
    provider, _, rest = (model or "").partition(":")
    return rest.removeprefix(_COLLECTION) if provider and rest else None


def scopes(
    tenant: str, project: str, key: str | None, user: str | None, model: str | None, credential: str | None
) -> list[tuple[str, str]]:
    """All that limits on a call may be on, as `Tenant.counters` finds it: (scope, id). `model`: `folded`."""
    given = (
        ("tenant", tenant), ("project", project), ("key", key), ("user", user), ("model", model),
        ("model", unprefixed(model)), ("credential", credential),
    )  # fmt: skip
    return [(scope, scope_id) for scope, scope_id in given if scope_id is not None]


def scope_of(found: LimitEntry | Counter) -> tuple[str, str]:
    """What a limit or a counter is on, as `Tenant.counters` finds it: (scope, id)."""
    return found.scope, folded(found.scope_id) if found.scope == "model" else found.scope_id


class Ledger:
    """The counters, by name and by what they limit."""

    def __init__(self, notices: Notices) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.calendar = Calendar()
        """Of all spend. Turned by whoever begins a step that asks for balances."""
        self._notices = notices
        self._entries: Mapping[str, LimitEntry] = {}
        self._counters: dict[str, Counter] = {}
        self._bare: set[str] = set()
        """Names of counters without a limit."""

    def plan(self, claim: Claim) -> Plan | None:
        """The counters of a call; `None`: there are none."""
        tenant = self.tenants.get(claim.tenant)
        if tenant is None:
            return None
        user, model = claim.user, claim.model
        if user not in tenant.users:
            user = None
        known = tenant.models
        if model is not None:
            model = folded(model) if known else None
        if model is not None and model not in known and unprefixed(model) not in known:
            model = None
        key = (claim.project, claim.key, user, model, claim.credential)
        if key in tenant.plans:
            return tenant.plans[key]
        return tenant.plan(key, claim.tenant)

    # -- limits that change

    def configure(self, entries: Mapping[str, LimitEntry], now: Moment) -> None:
        """Only what differs is touched. `entries` does not change afterwards.

        Raises `ValueError`, and changes nothing, if some measure has no such window.
        """
        before = self._entries
        self.calendar.turn(now.unix)
        if entries is before:
            return
        new = [entry for limit, entry in entries.items() if (old := before.get(limit)) is not entry and old != entry]
        for entry in new:
            check(entry)
        for entry in new:
            known = before.get(entry.id)
            if known is not None and known.counter != entry.counter:
                self._drop(known, now)
            self.counter(entry).put(entry, now)
            self._bare.discard(entry.counter)
        if len(before) + len([entry for entry in new if entry.id not in before]) != len(entries):
            for limit, gone in before.items():
                if limit not in entries:
                    self._drop(gone, now)
        self._entries = entries
        for name in [name for name in self._bare if self._counters[name].idle(now)]:
            self._bare.discard(name)
            self._forget(self._counters.pop(name))

    def _drop(self, entry: LimitEntry, now: Moment) -> None:
        counter = self._counters[entry.counter]
        counter.drop(entry.id, now)
        if not counter.caps:
            self._bare.add(counter.name)

    def counter(self, entry: LimitEntry) -> Counter:
        """The counter that an entry stands on, made if need be."""
        found = self._counters.get(entry.counter)
        if found is None:
            found = self._counters[entry.counter] = self._made(entry)
            tenant = self.tenants.setdefault(entry.tenant, Tenant())
            scope = scope_of(entry)
            tenant.counters.setdefault(scope, []).append(found)
            if entry.scope == "model":
                tenant.models.add(scope[1])
            elif entry.scope == "user":
                tenant.users.add(entry.scope_id)
            tenant.plans.clear()
        return found

    def known(self, name: str) -> Counter | None:
        """The counter of that name, if there is one."""
        return self._counters.get(name)

    def named(self, name: str) -> Counter:
        """The counter of that name, made if need be. Raises `ValueError` if that is no counter's name."""
        found = self._counters.get(name)
        if found is None:
            found = self.counter(of_counter(name))
            self._bare.add(name)
        return found

    def _made(self, entry: LimitEntry) -> Counter:
        if entry.measure == "requests":
            return Requests(entry, self._notices)
        if entry.measure == "concurrency":
            return Concurrency(entry, self._notices)
        if entry.measure == "tokens":
            return Tokens(entry, self._notices)
        return Spend(entry, self._notices, self.calendar)

    def _forget(self, counter: Counter) -> None:
        tenant = self.tenants[counter.tenant]
        scope = scope_of(counter)
        tenant.counters[scope].remove(counter)
        if not tenant.counters[scope]:
            del tenant.counters[scope]
            if counter.scope == "model":
                tenant.models.discard(scope[1])
            elif counter.scope == "user":
                tenant.users.discard(counter.scope_id)
        tenant.plans.clear()
        if not tenant.counters:
            del self.tenants[counter.tenant]
