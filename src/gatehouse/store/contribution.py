"""Why a figure changed from one window to another, told by what calls differ in. Pure arithmetic that loses nothing.

Rules: every value of a dimension has its calls and its amount (money, errors, time) in both windows. What the values
contribute adds up to the whole change, and the effects of a value to its contribution, to the last unit: fractions are
exact, and are made whole together (`whole`).

- An amount that adds up (money, errors) is `calls x share of the value x amount per call`. Its change is the change of
  the first factor alone (`volume`), then of the second (`mix`), then of the third (`per_call`).
- A mean is `share of the value x its own mean`, summed. A value whose share grows moves the mean by how far it lies
  from the mean before (`mix`); a value whose own mean changes, by its share now (`per_call`).
- A value that one of the windows does not have has no amount per call there to compare with: all of it is `mix`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import floor
from typing import Final, NamedTuple

Value = str | None


class Part(NamedTuple):
    """The calls of one value in one window."""

    seen: int = 0
    """All of them."""
    calls: int = 0
    """Those whose amount is known."""
    amount: int = 0
    tokens: int | None = 0
    """Of those; `None` where that is not known."""


class Effects(NamedTuple):
    """What a value contributes: the sum of the first three."""

    volume: int
    mix: int
    per_call: int
    tokens: int | None
    """Of `per_call`, by more tokens a call."""
    price: int | None
    """Of `per_call`, by a higher price of a token."""

    @property
    def change(self) -> int:
        return self.volume + self.mix + self.per_call


class MeanEffects(NamedTuple):
    """What a value contributes to the change of a mean: their sum."""

    mix: Fraction
    per_call: Fraction


NOTHING: Final = Part()
_NO: Final = Fraction(0)


def amounts(before: Mapping[Value, Part], after: Mapping[Value, Part]) -> dict[Value, Effects]:
    """What every value contributes to the change of the amount of all."""
    calls = sum(part.calls for part in before.values()), sum(part.calls for part in after.values())
    return {
        value: _amount(before.get(value, NOTHING), after.get(value, NOTHING), *calls)
        for value in dict.fromkeys((*before, *after))
    }


def means(before: Mapping[Value, Part], after: Mapping[Value, Part]) -> dict[Value, MeanEffects] | None:
    """What every value contributes to the change of the mean amount of a call. `None` where one window has no calls."""
    calls = sum(part.calls for part in before.values()), sum(part.calls for part in after.values())
    if not all(calls):
        return None
    mean = Fraction(sum(part.amount for part in before.values()), calls[0])
    return {
        value: _mean(before.get(value, NOTHING), after.get(value, NOTHING), mean, *calls)
        for value in dict.fromkeys((*before, *after))
    }


def whole(parts: Sequence[Fraction], total: int) -> list[int]:
    """Integers next to `parts` with the sum `total`, which is next to theirs. What is whole already stays so."""
    if not parts:
        return []
    floors = [floor(part) for part in parts]
    each, more = divmod(total - sum(floors), len(parts))
    by_fraction = sorted(range(len(parts)), key=lambda at: floors[at] - parts[at])
    for rank, at in enumerate(by_fraction):
        floors[at] += each + (rank < more)
    return floors


def _amount(before: Part, after: Part, calls_before: int, calls_after: int) -> Effects:
    change = after.amount - before.amount
    if not calls_before:
        return Effects(change, 0, 0, 0, 0)
    volume = Fraction(before.amount * (calls_after - calls_before), calls_before)
    per_call = _NO
    if before.calls and after.calls:
        per_call = after.amount - Fraction(before.amount * after.calls, before.calls)
    volume_, mix, per_call_ = whole([volume, change - volume - per_call, per_call], change)
    return Effects(volume_, mix, per_call_, *_per_token(before, after, per_call, per_call_))


def _per_token(before: Part, after: Part, per_call: Fraction, rounded: int) -> tuple[int | None, int | None]:
    if not (before.calls and after.calls):
        return 0, 0
    if not before.tokens or not after.tokens:
        return None, None
    more = after.tokens - Fraction(before.tokens * after.calls, before.calls)
    by_tokens = more * Fraction(before.amount, before.tokens)
    tokens, price = whole([by_tokens, per_call - by_tokens], rounded)
    return tokens, price


def _mean(before: Part, after: Part, mean: Fraction, calls_before: int, calls_after: int) -> MeanEffects:
    share_before, share_after = Fraction(before.calls, calls_before), Fraction(after.calls, calls_after)
    if not before.calls or not after.calls:
        there = after if after.calls else before
        own = Fraction(there.amount, there.calls) if there.calls else mean
        return MeanEffects((share_after - share_before) * (own - mean), _NO)
    own_before, own_after = Fraction(before.amount, before.calls), Fraction(after.amount, after.calls)
    return MeanEffects((share_after - share_before) * (own_before - mean), share_after * (own_after - own_before))
