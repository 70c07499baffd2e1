"""Which entry of a price list a model name belongs to. Pure.

Names are compared in lower case. The first entry that matches counts, as in the list's source: exact names are found
by one look-up, and only the patterns of entries before that are tried. The patterns are the list's own, never a
caller's; the names are a caller's, so whoever asks bounds their length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Final

from gatehouse.model.prices import Price

Test = Callable[[str], object]

COMPACT_DATE: Final = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


class Matcher:
    """An index over prices, in their order."""

    __slots__ = ("_exact", "_patterns", "_prices")

    def __init__(self, prices: Sequence[Price]) -> None:
        self._prices = tuple(prices)
        self._exact: dict[str, int] = {}
        self._patterns: list[tuple[int, tuple[Test, ...]]] = []
        for place, price in enumerate(self._prices):
            for name in price.names:
                self._exact.setdefault(name, place)
            for alternative in price.patterns:
                self._patterns.append((place, tuple(_test(sign_and_text) for sign_and_text in alternative)))

    def find(self, name: str) -> Price | None:
        """The first entry that `name` (lower case) belongs to."""
        best = self._exact.get(name, len(self._prices))
        for place, tests in self._patterns:
            if place >= best:
                break
            if all(test(name) for test in tests):
                best = place
                break
        return self._prices[best] if best < len(self._prices) else None


def dashed_date(name: str) -> str:
    """`name` with a compact date in it spelt out: `gpt-5.2-20251211` → `gpt-5.2-2025-12-11`.

    Some gateways answer with the compact form of names that lists spell with dashes; tried when nothing else matched.
    """

    def spell(match: re.Match[str]) -> str:
        try:
            return f"-{date(int(match[1]), int(match[2]), int(match[3]))}"
        except ValueError:
            return match[0]

    return COMPACT_DATE.sub(spell, name)


def _test(sign_and_text: str) -> Test:
    sign, text = sign_and_text[0], sign_and_text[1:]
    match sign:
        case "^":
            return lambda name: name.startswith(text)
        case "$":
            return lambda name: name.endswith(text)
        case "~":
            return lambda name: text in name
        case "=":
            return lambda name: name == text
        case "/":
            return re.compile(text).search
        case _:
            raise ValueError(f"price pattern {sign_and_text!r}: unknown sign {sign!r}")
