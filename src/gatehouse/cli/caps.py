"""Limits as people write them: `60/minute`, `200k/day`, `50usd/month`, `4`. Pure.

Rules: exact, both ways: an amount is an integer of requests, tokens, calls or nano-dollars, and what has no such value
is refused, never rounded. `written` of what `read` gives is read as the same.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gatehouse.model.limits import LARGEST_CAP, WINDOWS, Measure, Window

_NUMBER: Final = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,18}))?(k|M|G)?", re.ASCII)
_TIMES: Final = {None: 0, "k": 3, "M": 6, "G": 9}
_NANO: Final = 9
_CURRENCY: Final = "usd"
EXAMPLES: Final[dict[Measure, str]] = {
    "requests": "60/minute",
    "tokens": "200k/minute",
    "concurrency": "4",
    "spend": "50usd/month",
}
"""How each is written."""


class Cap(NamedTuple):
    """So much of a measure within a window."""

    measure: Measure
    window: Window
    amount: int


def read(measure: Measure, text: str) -> Cap:
    """A cap as written. Raises `ValueError`: a sentence."""
    amount, slash, window = text.partition("/")
    windows = WINDOWS[measure]
    if measure == "concurrency":
        if slash:
            raise ValueError(f"`{text}`: calls at a time are a plain number, such as 4")
        return Cap(measure, "now", read_amount(measure, amount))
    for known in windows:
        if window == known:
            return Cap(measure, known, read_amount(measure, amount))
    verb = "is" if measure == "spend" else "are"
    raise ValueError(f"`{text}`: {measure} {verb} per {', '.join(windows)}, such as {EXAMPLES[measure]}")


def read_amount(measure: Measure, text: str) -> int:
    """An amount as written, without a window. Raises `ValueError`: a sentence."""
    number, scale = text, 0
    if measure == "spend":
        if not text.lower().endswith(_CURRENCY):
            raise ValueError(f"`{text}`: spend is in US dollars, such as 50usd or 0.25usd")
        number, scale = text[: -len(_CURRENCY)], _NANO
    found = _NUMBER.fullmatch(number)
    if found is None:
        raise ValueError(f"`{text}` is no amount, such as {EXAMPLES[measure].partition('/')[0]}")
    whole, fraction, unit = found[1], (found[2] or "").rstrip("0"), found[3]
    scale += _TIMES[unit]
    if len(fraction) > scale:
        least = "a nano-dollar" if measure == "spend" else "one"
        raise ValueError(f"`{text}` is no whole number: {least} is the least")
    amount = int(whole + fraction.ljust(scale, "0"))
    if amount > LARGEST_CAP:
        raise ValueError(f"`{text}` is more than can be counted")
    return amount


def written(measure: Measure, window: Window, amount: int) -> str:
    """A cap as `read` takes it."""
    said = written_amount(measure, amount)
    return said if measure == "concurrency" else f"{said}/{window}"


def written_amount(measure: Measure, amount: int) -> str:
    """An amount as `read_amount` takes it."""
    if measure != "spend":
        return str(amount)
    whole, fraction = divmod(amount, 10**_NANO)
    decimals = f"{fraction:09d}".rstrip("0")
    return f"{whole}{'.' if decimals else ''}{decimals}{_CURRENCY}"
