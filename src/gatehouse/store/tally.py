"""How answers of the database add up, stretch by stretch, and become figures. Pure.

Rules: a key is what calls are told apart by, its bucket first; sums are exact integers; what is kept is bounded
(`MOST_KEYS`, `MOST_COUNTS`), and beyond that the question is refused rather than memory used up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from gatehouse.store.durations import Histogram, average, percentiles
from gatehouse.store.figures import Change, Distribution, Head
from gatehouse.store.present import TOKEN_PARTS, tokens
from gatehouse.store.views import Tokens

MOST_KEYS: Final = 100_000
MOST_COUNTS: Final = 500_000
"""Different durations, over all groups of the buckets that are not over yet."""
LATEST: Final = "latest"
"""The one sum that is a maximum."""

Key = tuple[Any, ...]
"""Bucket (microseconds, or `None`), then the values of the dimensions."""
Values = dict[str, int]


class TooManyError(Exception):
    """Calls are told apart by too much: `str(error)` says what to do."""


class Sums:
    """Integers by key. Keys without calls are left out."""

    def __init__(self, names: tuple[str, ...], most: int = MOST_KEYS) -> None:
        """`names`: what the sums are of, calls first; `most`: keys."""
        self.names = names
        self._most = most
        self._by_key: dict[Key, list[int]] = {}

    def add(self, found: Iterable[Any]) -> None:
        """Rows of key and sums."""
        width = len(self.names)
        for row in found:
            # PostgreSQL's sums of 64-bit integers are decimals.
            values = [int(value or 0) for value in row[-width:]]
            if not values[0]:
                continue
            kept = self._by_key.setdefault(tuple(row[:-width]), values)
            if kept is not values:
                self._merge(kept, values)
        if len(self._by_key) > self._most:
            raise TooManyError(
                f"more than {self._most} groups; filter, group by less, or ask for a shorter window or longer buckets"
            )

    def items(self) -> Iterator[tuple[Key, Values]]:
        """Every key with its sums."""
        for key, values in self._by_key.items():
            yield key, dict(zip(self.names, values, strict=True))

    def total(self) -> Values:
        """Over all keys."""
        summed = [0] * len(self.names)
        for values in self._by_key.values():
            self._merge(summed, values)
        return dict(zip(self.names, summed, strict=True))

    def by_each(self, place: int) -> Sums:
        """The same, a call under each of the tags that stand at this place of the key."""
        found = Sums(self.names)
        for key, values in self._by_key.items():
            for each in each_tag(key, place):
                self._merge(found._by_key.setdefault(each, [0] * len(values)), values)
        return found

    def by(self, place: int) -> Sums:
        """The same told apart by one value of the key alone."""
        found = Sums(self.names)
        for key, values in self._by_key.items():
            kept = found._by_key.setdefault((key[place],), [0] * len(values))
            self._merge(kept, values)
        return found

    def _merge(self, kept: list[int], values: list[int]) -> None:
        for at, (name, value) in enumerate(zip(self.names, values, strict=True)):
            kept[at] = max(kept[at], value) if name == LATEST else kept[at] + value


class Durations:
    """Durations by key. Of buckets that are over only the distribution is kept."""

    def __init__(self, most: int = MOST_KEYS, tags: int | None = None) -> None:
        """`most`: keys; `tags`: where in a key tags stand, under each of which its calls are to count."""
        self._most = most
        self._tags = tags
        self._counts: defaultdict[Key, Histogram] = defaultdict(Histogram)
        self._waited: Counter[Key] = Counter()
        self._over: dict[Key, Distribution] = {}
        self._all = Histogram()
        """Of buckets that are over."""

    def add(self, found: Iterable[Any]) -> None:
        """Rows of key, rounded duration, calls and the exact sum of their durations."""
        for row in found:
            *key, duration, calls, waited = row
            place = tuple(key)
            self._counts[place].add(int(duration), calls)
            self._waited[place] += int(waited)
        self._check()

    def merge(self, found: Iterable[Any]) -> None:
        """Rows of key, calls, the exact sum of their durations, and what `durations.pack` made of them."""
        for row in found:
            *key, calls, waited, packed = row
            if calls:
                place = tuple(key)
                self._counts[place].merge(packed)
                self._waited[place] += waited
        self._check()

    def settle(self, bucket: int) -> None:
        """No more calls will come of buckets before this one."""
        over = {key: self._counts.pop(key) for key in list(self._counts) if key[0] is not None and key[0] < bucket}
        for counts in over.values():
            self._all.include(counts)
        self._over |= self._distributions(over)

    def items(self) -> dict[Key, Distribution]:
        """Every key with its distribution."""
        return self._over | self._distributions(self._counts)

    def _distributions(self, counts: Mapping[Key, Histogram]) -> dict[Key, Distribution]:
        if self._tags is None:
            return {key: _distribution(each.counts(), self._waited[key]) for key, each in counts.items()}
        spread: defaultdict[Key, Histogram] = defaultdict(Histogram)
        waited: Counter[Key] = Counter()
        for key, each in counts.items():
            for tagged in each_tag(key, self._tags):
                spread[tagged].include(each)
                waited[tagged] += self._waited[key]
        return {key: _distribution(each.counts(), waited[key]) for key, each in spread.items()}

    def by(self, place: int) -> Durations:
        """The same told apart by one value of the key alone, of what has no buckets."""
        found = Durations()
        for key, counts in self._counts.items():
            found._counts[(key[place],)].include(counts)
            found._waited[(key[place],)] += self._waited[key]
        return found

    def total(self) -> Distribution:
        """Over all keys."""
        whole = Histogram()
        for each in (self._all, *self._counts.values()):
            whole.include(each)
        return _distribution(whole.counts(), self._waited.total())

    def _check(self) -> None:
        if len(self._waited) > self._most or sum(map(len, self._counts.values())) > MOST_COUNTS:
            raise TooManyError(
                "calls and their durations are too many to tell apart by this; filter, group by less, or ask for a "
                "shorter window"
            )


def each_tag(key: Key, place: int) -> Iterator[Key]:
    """A key that holds tags as the store keeps them, a JSON list, as keys of one tag each; of none: `None`."""
    text = key[place]
    tags: list[str | None] = [None] if text is None else msgspec.json.decode(text)
    for tag in dict.fromkeys(tags or [None]):
        yield (*key[:place], tag, *key[place + 1 :])


EMPTY: Final = Distribution(calls=0, avg_us=None, p50_us=None, p90_us=None, p95_us=None, p99_us=None)


def _distribution(counts: Counter[int], waited: int) -> Distribution:
    p50, p90, p95, p99 = percentiles(counts, 50, 90, 95, 99)
    return Distribution(
        calls=counts.total(), avg_us=average(waited, counts), p50_us=p50, p90_us=p90, p95_us=p95, p99_us=p99
    )


def rate(part: int, whole: int) -> float | None:
    """`None` where there is no whole."""
    return part / whole if whole else None


def token_counts(values: Values) -> Tokens:
    """From the sums of the columns `tokens_…`."""
    return tokens({name: values[f"tokens_{name}"] for name in TOKEN_PARTS})


def cost(values: Values) -> int | None:
    """What is known to have been spent; `None` where prices are unknown and no cost is known."""
    return None if values["unknown_price"] and not values["priced"] else values["cost"]


def head(values: Values, durations: Distribution) -> Head:
    """The head figures."""
    counted = token_counts(values)
    return Head(
        calls=values["calls"],
        errors=values["errors"],
        error_rate=rate(values["errors"], values["calls"]),
        input_tokens=counted.input_total,
        output_tokens=counted.output_total,
        cost_nano_usd=cost(values),
        unknown_price=values["unknown_price"],
        avg_us=durations.avg_us,
        p50_us=durations.p50_us,
        p95_us=durations.p95_us,
    )


def change(current: Head, before: Head) -> Change:
    """From one window to the next."""
    grown: dict[str, float | None] = {}
    for name in Head.__struct_fields__:
        now, then = getattr(current, name), getattr(before, name)
        grown[name] = None if now is None or not then else (now - then) / then
    return Change(**grown)
