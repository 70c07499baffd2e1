"""Where a caller stands, as header lines of its answer (`docs/limits.md`).

Rules: of several hard limits of one measure the one with the least left. Names end in the measure, but for requests.
"""

from __future__ import annotations

from typing import Final

from gatehouse.limits.counters import ENDLESS, Counter
from gatehouse.limits.ledger import Plan
from gatehouse.model.limits import Moment

_SECOND: Final = 1_000_000
_NAME: Final = "x-gatehouse-ratelimit-"


def _names(suffix: str) -> tuple[str, str, str]:
    return f"{_NAME}limit{suffix}: ", f"\r\n{_NAME}remaining{suffix}: ", f"\r\n{_NAME}reset{suffix}: "


NAMES: Final = {
    "requests": _names(""),
    "concurrency": _names("-concurrency"),
    "tokens": _names("-tokens"),
    "spend": _names("-spend"),
}
"""By measure: what stands before the cap, before what is left, and before the seconds until that changes."""


def standing(plan: Plan, now: Moment) -> bytes:
    """The lines, as of now."""
    steady = now.steady
    said = ""
    for counters in plan.measures:
        tightest: Counter | None = None
        least_left = ENDLESS
        for counter in counters:
            left = counter.least - counter.used(steady)
            if left < least_left and counter.least != ENDLESS:
                tightest, least_left = counter, left
        if tightest is None:
            continue
        limit, remaining, reset = NAMES[tightest.measure]
        said += limit + str(tightest.least) + remaining + str(max(0, least_left))
        changes = tightest.changes(now)
        if changes is not None:
            said += reset + str(-(-changes // _SECOND))
        said += "\r\n"
    return said.encode()
