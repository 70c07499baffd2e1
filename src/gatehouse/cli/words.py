"""Numbers as people read them: money exactly, durations and counts shortly. Pure."""

from __future__ import annotations

from collections.abc import Callable

UNKNOWN = "–"


def dollars(nano: int | None) -> str:
    """Nano-dollars, exactly, with at least two decimals: `$0.00015`."""
    if nano is None:
        return UNKNOWN
    whole, fraction = divmod(abs(nano), 10**9)
    decimals = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}${whole:,}.{decimals}"


def about(nano: int | None) -> str:
    """Nano-dollars as people say them: to the cent, below a dollar to three digits. `$12.40`, `$0.00123`."""
    if nano is None:
        return UNKNOWN
    digits = 10**7 if abs(nano) >= 10**9 else 10 ** max(0, len(str(abs(nano))) - 3)
    return dollars((nano + digits // 2) // digits * digits)


def signed(amount: int | None, words: Callable[[int], str]) -> str:
    """`+$1.20`, `−3`, by how `words` writes the size."""
    if amount is None:
        return UNKNOWN
    return f"{'−' if amount < 0 else '+'}{words(abs(amount))}" if amount else words(0)


def percent(part: float) -> str:
    """Of a change: `+38 %`, `−2.5 %`."""
    size = 100 * abs(part)
    return f"{'−' if part < 0 else '+'}{size:,.0f} %" if size >= 10 else f"{'−' if part < 0 else '+'}{size:.1f} %"


def duration(microseconds: int | None) -> str:
    """`850 µs`, `12.3 ms`, `4.21 s`, `3 min 5 s`."""
    if microseconds is None:
        return UNKNOWN
    if microseconds < 1_000:
        return f"{microseconds} µs"
    if microseconds < 999_950:
        return f"{microseconds / 1_000:.1f} ms"
    if microseconds < 59_995_000:
        return f"{microseconds / 1_000_000:.2f} s"
    minutes, seconds = divmod(round(microseconds / 1_000_000), 60)
    return f"{minutes:,} min {seconds} s"


def size(count: int | None) -> str:
    """Bytes: `512 B`, `1.5 KiB`."""
    if count is None:
        return UNKNOWN
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{count} B" if unit == "B" else f"{amount:,.1f} {unit}"


def number(count: int | None) -> str:
    """`12,345`."""
    return UNKNOWN if count is None else f"{count:,}"


def counted(count: int, noun: str) -> str:
    """`1 call`, `1,234 calls`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
