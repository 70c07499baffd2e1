"""Which limits have to be made, changed and deleted, thing by thing. Pure; a part of `planning`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import UnsetType

from gatehouse.cli.declared import Cap
from gatehouse.cli.limit import PATH, terms_told
from gatehouse.cli.steps import LIMITS, LIMITS_GONE, Item, Ref, State, Step

_COUNTS: Final = ("measure", "window")
_LIKENESS: Final = ((*_COUNTS, "hard", "cap"), (*_COUNTS, "hard"), _COUNTS)
"""What two limits have in common, from most to least."""
_TERMS: Final = ("cap", "hard", "at_cap", "on_unknown", "when_down", "assumed", "max_reserved_share")


class LimitSteps:
    """The steps for limits, as far as they were planned."""

    def __init__(self, state: State, *, prune: bool) -> None:
        self.steps: list[Step] = []
        self.there: dict[tuple[str, str], list[Item]] = {}
        """By what they are on."""
        self._prune = prune
        for limit in state.limits:
            self.there.setdefault((limit["scope"], limit["scope_id"]), []).append(limit)

    def on(
        self, scope: str, on: Ref | str | None, label: str, wanted: Sequence[Cap] | UnsetType, known: str | None
    ) -> None:
        """Limits on one thing. `on`: as a new one says it; `known`: its id, if it has one."""
        if isinstance(wanted, UnsetType):
            return
        left = list(self.there.get((scope, known), ())) if known is not None else []
        pairs = _paired([cap.terms() for cap in wanted], left)
        for terms, now in pairs:
            words = terms_told(terms)
            if now is None:
                body = {"scope": scope, "scope_id": on, **terms}
                self.steps.append(Step(LIMITS, f"+ limit on {label}: {words}", "POST", (PATH,), body))
                continue
            changed = {name: terms[name] for name in _TERMS if terms[name] != now[name]}
            if changed:
                says = f"~ limit on {label}: {words} ({', '.join(changed)})"
                self.steps.append(Step(LIMITS, says, "PATCH", (f"{PATH}/{now['id']}",), changed))
        if self._prune:
            paired = {now["id"] for _, now in pairs if now is not None}
            self.gone(label, [each for each in left if each["id"] not in paired])

    def gone(self, label: str, limits: Iterable[Item]) -> None:
        """Plan that these go."""
        for each in limits:
            says = f"- limit on {label}: {terms_told(each)}"
            self.steps.append(Step(LIMITS_GONE, says, "DELETE", (f"{PATH}/{each['id']}",)))


def _paired(wanted: Sequence[Item], now: Iterable[Item]) -> list[tuple[Item, Item | None]]:
    """Each wanted limit with the one there that counts the same; of several the one most like it, so that what is so
    already stays."""
    left = list(now)
    found: dict[int, Item] = {}
    for alike in _LIKENESS:
        for index, terms in enumerate(wanted):
            match = next((each for each in left if all(each[name] == terms[name] for name in alike)), None)
            if index not in found and match is not None:
                found[index] = match
                left.remove(match)
    return [(terms, found.get(index)) for index, terms in enumerate(wanted)]
