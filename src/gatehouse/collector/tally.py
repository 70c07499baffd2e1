"""What the collector has seen of calls since it began, in sums: the counters and histograms of `/metrics`. No I/O.

Rules
- A call counts when both its halves are in the store, and once: by then its lines have their places behind a lane's
  mark, and a store that is emptied and filled again counts nothing anew.
- Memory is bounded. Callers name models as they like, so at most `MOST_PAIRS` (provider, model) pairs and
  `MOST_SERIES` (provider, route, model) have numbers of their own; further models are `other`. Labels are cut to
  `LABEL` characters.
- One thread counts, a slice of calls at a time under `lock`; who reads holds it meanwhile.
"""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Final

from gatehouse.config.printable import clean
from gatehouse.polite import SLICE, give_way
from gatehouse.store.present import TOKEN_PARTS
from gatehouse.store.report import FAILED
from gatehouse.store.rows import Batch, Concluded, Decided, Mark

MOST_PAIRS: Final = 500
MOST_SERIES: Final = 1_000
LABEL: Final = 64
OTHER: Final = "other"
BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
"""Upper bounds of a histogram's buckets, seconds; one more has no bound."""

_BOUNDS_US: Final = tuple(round(bound * 1_000_000) for bound in BOUNDS)
_tokens: Final = attrgetter(*(f"tokens_{part}" for part in TOKEN_PARTS))


class Histogram:
    """How many durations fell between which bounds."""

    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        """Per bucket, not cumulative."""
        self.sum_us = 0

    def observe(self, microseconds: int) -> None:
        self.counts[bisect_left(_BOUNDS_US, microseconds)] += 1
        self.sum_us += microseconds


class ModelSums:
    """One model of one provider."""

    __slots__ = ("cost", "tokens", "unpriced")

    def __init__(self) -> None:
        self.tokens = [0] * len(TOKEN_PARTS)
        """In the order of `TOKEN_PARTS`."""
        self.cost = 0
        """Nano-dollars."""
        self.unpriced = 0
        """Calls whose tokens have no known price."""


class Series:
    """One model on one route of one provider. `model`: its sums over all routes."""

    __slots__ = ("duration", "ended", "first_token", "model", "provider")

    def __init__(self, provider: str, model: ModelSums) -> None:
        self.provider = provider
        self.model = model
        self.ended: Counter[tuple[str, str]] = Counter()
        """Calls by outcome and class of status."""
        self.duration = Histogram()
        self.first_token = Histogram()


class Tally:
    """The sums of one collector."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.series: dict[tuple[str, str, str], Series] = {}
        """By provider, route and model."""
        self.models: dict[tuple[str, str], ModelSums] = {}
        """By provider and model."""
        self.attempts: Counter[str] = Counter()
        self.replays: Counter[str] = Counter()
        self.errors: Counter[tuple[str, str]] = Counter()
        """By provider and code."""
        self.refusals: Counter[str] = Counter()
        self._counted: defaultdict[str, int] = defaultdict(int)
        """Per lane the last line that is counted, or was in the store before."""

    def skip(self, marks: Mapping[str, Mark]) -> None:
        """What is in the store already is not counted, now or later."""
        for lane, mark in marks.items():
            self._counted[lane] = max(self._counted[lane], mark.seq)

    def is_new(self, decided: Decided, concluded: Concluded) -> bool:
        """Whether a call that became whole was not in the store before, or in one that was there before."""
        counted = self._counted
        return (
            concluded.outcome_seq > counted[concluded.outcome_lane]
            or decided.decision_seq > counted[decided.decision_lane]
        )

    def count(self, whole: Iterable[tuple[Decided, Concluded]], batch: Batch) -> None:
        """What one transaction wrote: the calls it made `whole`, and counted refusals."""
        counted = self._counted
        calls = iter(whole)
        while some := list(itertools.islice(calls, SLICE)):
            with self.lock:
                for decided, concluded in some:
                    if self.is_new(decided, concluded):
                        self._call(decided, concluded)
            give_way()
        with self.lock:
            for refused in batch.refused:
                if refused.seq > counted[refused.lane]:
                    self.refusals[refused.code or OTHER] += refused.count
        self.skip({mark.lane: mark for mark in batch.marks})

    def _call(self, decided: Decided, concluded: Concluded) -> None:
        key = (concluded.provider or decided.provider or "", decided.route or "", decided.model or "")
        series = self.series.get(key) or self._place(*key)
        status = concluded.status
        series.ended[concluded.outcome, "none" if status is None else f"{status // 100}xx"] += 1
        if concluded.attempts:
            self.attempts[series.provider] += concluded.attempts
            self.replays[series.provider] += concluded.replayed
            if concluded.duration_us is not None:
                series.duration.observe(concluded.duration_us)
            if decided.stream and concluded.first_token_us is not None:
                series.first_token.observe(concluded.first_token_us)
        elif concluded.outcome == "refused":
            self.refusals[concluded.code or OTHER] += 1
        failure = _failure(concluded)
        if failure is not None:
            self.errors[series.provider, failure] += 1
        _usage(series.model, concluded)

    def _place(self, provider: str, route: str, model: str) -> Series:
        """Where calls with these names are counted."""
        provider, route, model = (clean(name[:LABEL]) for name in (provider, route, model))
        new = (provider, route, model) not in self.series
        if new and (
            len(self.series) >= MOST_SERIES or ((provider, model) not in self.models and len(self.models) >= MOST_PAIRS)
        ):
            model = OTHER
        key = (provider, route, model)
        found = self.series.get(key)
        if found is None:
            sums = self.models.setdefault((provider, model), ModelSums())
            found = self.series[key] = Series(provider, sums)
        return found


def _failure(concluded: Concluded) -> str | None:
    """Gatehouse's code, else how the call ended, else the status the caller got; `None`: it went well."""
    status = concluded.status or 0
    if concluded.outcome in FAILED:
        return concluded.code or concluded.outcome
    return str(status) if status >= 400 else None


def _usage(sums: ModelSums, concluded: Concluded) -> None:
    if concluded.tokens_input is not None:
        for position, count in enumerate(_tokens(concluded)):
            if count:
                sums.tokens[position] += count
    if concluded.cost is not None:
        sums.cost += concluded.cost
    elif concluded.price == "unknown":
        sums.unpriced += 1
