"""What stands at `/metrics`: every metric, declared once, and the families of one scrape. Pure.

Rules: `METRICS` is the list that `docs/metrics.md` repeats. What is counted of calls comes from the journal, by way of
the collector's tally; gauges of workers from the memory they share; the rest from what `/health` knows. Nothing here
looks into store or journal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from gatehouse.collector.tally import BOUNDS, Histogram, Tally
from gatehouse.config.loads import JOURNAL_STATES, SWEEP_SECONDS, Gauges
from gatehouse.control.health import Health
from gatehouse.store.present import TOKEN_PARTS


class Declared(NamedTuple):
    """One metric. `meaning` is its HELP."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str


_SERIES: Final = ("provider", "route", "model")
_MODEL: Final = ("provider", "model")
_WORKER: Final = ("worker",)
_SINCE: Final = "Collected since the control process started."

METRICS: Final = (
    Declared(
        "gatehouse_requests_total",
        "counter",
        (*_SERIES, "outcome", "status"),
        f"Calls that ended, refused ones included. {_SINCE}",
    ),
    Declared(
        "gatehouse_request_duration_seconds",
        "histogram",
        _SERIES,
        f"From acceptance to the end of the answer, of calls that were forwarded. {_SINCE}",
    ),
    Declared(
        "gatehouse_time_to_first_token_seconds",
        "histogram",
        _SERIES,
        f"From acceptance to the first generated content, of streamed answers. {_SINCE}",
    ),
    Declared(
        "gatehouse_tokens_total",
        "counter",
        (*_MODEL, "part"),
        f"Tokens. The parts are disjoint and may be added up. {_SINCE}",
    ),
    Declared(
        "gatehouse_cost_dollars_total",
        "counter",
        _MODEL,
        f"Cost of calls with a known price, US dollars. {_SINCE}",
    ),
    Declared(
        "gatehouse_unpriced_calls_total",
        "counter",
        _MODEL,
        f"Calls with tokens whose price is not known. {_SINCE}",
    ),
    Declared(
        "gatehouse_errors_total",
        "counter",
        ("provider", "code"),
        "Calls that went wrong: Gatehouse's error code, else how the call ended, else the status the caller got. A "
        f"caller that left is no error. {_SINCE}",
    ),
    Declared("gatehouse_attempts_total", "counter", ("provider",), f"Requests sent to providers. {_SINCE}"),
    Declared(
        "gatehouse_replays_total",
        "counter",
        ("provider",),
        f"Calls sent once more, because a reused connection had closed before it answered. {_SINCE}",
    ),
    Declared(
        "gatehouse_refusals_total",
        "counter",
        ("code",),
        f"Calls refused before anything was forwarded, those included that were counted instead of listed. {_SINCE}",
    ),
    Declared("gatehouse_worker_open_calls", "gauge", _WORKER, "Calls that run."),
    Declared("gatehouse_worker_open_streams", "gauge", _WORKER, "Of the calls that run, those that ask for a stream."),
    Declared("gatehouse_worker_open_websockets", "gauge", _WORKER, "Of those, WebSockets."),
    Declared("gatehouse_worker_client_connections", "gauge", _WORKER, "Connections of clients."),
    Declared(
        "gatehouse_worker_upstream_connections",
        "gauge",
        (*_WORKER, "state"),
        "Connections to providers: idle, or in_use (being made included).",
    ),
    Declared("gatehouse_worker_upstream_waiting", "gauge", _WORKER, "Calls that wait for a connection to a provider."),
    Declared("gatehouse_worker_request_body_bytes", "gauge", _WORKER, "Bytes of request bodies held."),
    Declared(
        "gatehouse_worker_event_loop_lag_seconds",
        "gauge",
        _WORKER,
        "How long the event loop was held up, at worst in the last 15 s; of a worker that hangs: how long by now.",
    ),
    Declared(
        "gatehouse_worker_journal_state",
        "gauge",
        (*_WORKER, "state"),
        "1 for the state of the worker's journal: ok, full or failing.",
    ),
    Declared("gatehouse_worker_journal_queued_lines", "gauge", _WORKER, "Lines not written to the journal yet."),
    Declared(
        "gatehouse_worker_journal_errors_total",
        "counter",
        _WORKER,
        "Writes and syncs of the journal that failed, since the worker started.",
    ),
    Declared(
        "gatehouse_worker_decisions_failed_total",
        "counter",
        _WORKER,
        "Calls refused because their decision could not be put on record, since the worker started.",
    ),
    Declared(
        "gatehouse_worker_refusals_counted_total",
        "counter",
        _WORKER,
        "Refusals that got no line of their own (the flood rule, or no room), since the worker started.",
    ),
    Declared(
        "gatehouse_worker_captures_dropped_total",
        "counter",
        _WORKER,
        "Pieces of captured bodies that found no room in the journal, since the worker started.",
    ),
    Declared(
        "gatehouse_worker_connections_without_request_total",
        "counter",
        _WORKER,
        "Connections of clients that ended before a whole request head had come, since the worker started.",
    ),
    Declared("gatehouse_worker_tasks", "gauge", _WORKER, "Tasks of the event loop. Calls have none."),
    Declared(
        "gatehouse_worker_descriptors_denied_total",
        "counter",
        _WORKER,
        "Connections of clients turned away, and to providers not made, for want of file descriptors, since the worker "
        "started.",
    ),
    Declared("gatehouse_collector_lag_seconds", "gauge", (), "Age of the oldest journal line not in the store."),
    Declared("gatehouse_collector_lag_lines", "gauge", (), "Lines known to stand in the journal and not in the store."),
    Declared("gatehouse_collector_lines_total", "counter", (), "Lines collected since the control process started."),
    Declared(
        "gatehouse_collector_unreadable_lines_total",
        "counter",
        (),
        "Lines left out of the store since the control process started.",
    ),
    Declared(
        "gatehouse_collector_stopped_lanes",
        "gauge",
        (),
        "Lanes of the journal that are collected no further, since a line does not hold.",
    ),
    Declared(
        "gatehouse_store_state",
        "gauge",
        ("state",),
        "1 for the state of the store: starting, connected or unavailable.",
    ),
    Declared(
        "gatehouse_limits_connected",
        "gauge",
        (),
        "1 if limits that several workers share can be checked, else 0; none where nothing is shared.",
    ),
    Declared(
        "gatehouse_journal_state",
        "gauge",
        ("state",),
        "1 for the state of the control process's own journal: ok, full or failing.",
    ),
    Declared("gatehouse_journal_bytes", "gauge", (), "Size of the whole journal."),
    Declared("gatehouse_journal_max_bytes", "gauge", (), "The size it may have: journal.max_bytes."),
    Declared(
        "gatehouse_clock_jump_seconds",
        "gauge",
        (),
        "By how much the system's clock was set forward since the control process started; negative: back.",
    ),
    Declared(
        "gatehouse_build_info",
        "gauge",
        ("version", "python", "compiled"),
        "1. compiled: whether the hot path is.",
    ),
)
"""Every metric, in the order of the page."""

_STORE_STATES: Final = ("starting", "connected", "unavailable")
_OF_WORKER: Final = (
    ("gatehouse_worker_open_calls", "calls"),
    ("gatehouse_worker_open_streams", "streams"),
    ("gatehouse_worker_open_websockets", "websockets"),
    ("gatehouse_worker_client_connections", "connections"),
    ("gatehouse_worker_upstream_waiting", "waiting"),
    ("gatehouse_worker_request_body_bytes", "body_bytes"),
    ("gatehouse_worker_journal_queued_lines", "journal_queue"),
    ("gatehouse_worker_journal_errors_total", "journal_errors"),
    ("gatehouse_worker_decisions_failed_total", "decisions_failed"),
    ("gatehouse_worker_refusals_counted_total", "refusals_counted"),
    ("gatehouse_worker_captures_dropped_total", "captures_dropped"),
    ("gatehouse_worker_connections_without_request_total", "connections_without_request"),
    ("gatehouse_worker_tasks", "tasks"),
    ("gatehouse_worker_descriptors_denied_total", "descriptors_denied"),
)
"""Metrics that are one field of `Gauges`."""
_NANO: Final = 1_000_000_000
_BOUNDS: Final = (*map(str, BOUNDS), "+Inf")

Family = CounterMetricFamily | GaugeMetricFamily


class Page:
    """One scrape. What `prometheus_client` calls a collector, and a registry of one."""

    def __init__(self) -> None:
        self._plain: dict[str, Family] = {}
        self._histograms: dict[str, HistogramMetricFamily] = {}
        for metric in METRICS:
            if metric.kind == "histogram":
                self._histograms[metric.name] = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            else:
                family: type[Family] = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                self._plain[metric.name] = family(metric.name, metric.meaning, labels=metric.labels)

    def collect(self) -> Iterable[Metric]:
        """The families, in the order of `METRICS`."""
        return [self._histograms.get(metric.name) or self._plain[metric.name] for metric in METRICS]

    def calls(self, tally: Tally) -> None:
        """What the collector counted."""
        with tally.lock:
            for names, series in tally.series.items():
                for (outcome, status), count in series.ended.items():
                    self._add("gatehouse_requests_total", count, *names, outcome, status)
                self._observed("gatehouse_request_duration_seconds", names, series.duration)
                self._observed("gatehouse_time_to_first_token_seconds", names, series.first_token)
            for pair, sums in tally.models.items():
                for part, count in zip(TOKEN_PARTS, sums.tokens, strict=True):
                    if count:
                        self._add("gatehouse_tokens_total", count, *pair, part)
                self._add("gatehouse_cost_dollars_total", sums.cost / _NANO, *pair)
                self._add("gatehouse_unpriced_calls_total", sums.unpriced, *pair)
            for failed, count in tally.errors.items():
                self._add("gatehouse_errors_total", count, *failed)
            for provider, count in tally.attempts.items():
                self._add("gatehouse_attempts_total", count, provider)
                self._add("gatehouse_replays_total", tally.replays[provider], provider)
            for code, count in tally.refusals.items():
                self._add("gatehouse_refusals_total", count, code)

    def workers(self, workers: Mapping[int, Gauges], now: int) -> None:
        """What the workers say. `now`: nanoseconds on the monotonic clock."""
        for index, gauges in workers.items():
            worker = str(index)
            for name, field in _OF_WORKER:
                self._add(name, getattr(gauges, field), worker)
            self._add("gatehouse_worker_upstream_connections", gauges.idle, worker, "idle")
            self._add("gatehouse_worker_upstream_connections", gauges.used, worker, "in_use")
            overdue = (now - gauges.swept) / _NANO - SWEEP_SECONDS
            self._add("gatehouse_worker_event_loop_lag_seconds", max(gauges.late_us / 1e6, overdue), worker)
            state = JOURNAL_STATES[gauges.journal_state]
            self._one_of("gatehouse_worker_journal_state", JOURNAL_STATES, state, worker)

    def health(self, health: Health) -> None:
        """What the control process knows of itself."""
        collector, journal = health.collector, health.journal
        self._add("gatehouse_collector_lag_seconds", collector.lag_seconds)
        self._add("gatehouse_collector_lag_lines", collector.lines_behind)
        self._add("gatehouse_collector_lines_total", collector.collected)
        self._add("gatehouse_collector_unreadable_lines_total", collector.unreadable)
        self._add("gatehouse_collector_stopped_lanes", len(collector.stopped))
        self._one_of("gatehouse_store_state", _STORE_STATES, health.services["store"])
        if "limits" in health.services:
            self._add("gatehouse_limits_connected", health.services["limits"] == "connected")
        self._one_of("gatehouse_journal_state", JOURNAL_STATES, journal.state)
        self._add("gatehouse_journal_bytes", journal.bytes)
        self._add("gatehouse_journal_max_bytes", journal.max_bytes)
        self._add("gatehouse_clock_jump_seconds", health.clock_jump_seconds)

    def build(self, version: str, python: str, *, compiled: bool) -> None:
        """What this installation is."""
        self._add("gatehouse_build_info", 1, version, python, "true" if compiled else "false")

    def _add(self, name: str, value: float, *labels: str) -> None:
        self._plain[name].add_metric(labels, value)

    def _one_of(self, name: str, states: Iterable[str], state: str, *labels: str) -> None:
        for each in states:
            self._add(name, 1 if each == state else 0, *labels, each)

    def _observed(self, name: str, labels: tuple[str, ...], histogram: Histogram) -> None:
        buckets = list(zip(_BOUNDS, map(float, itertools.accumulate(histogram.counts)), strict=True))
        if buckets[-1][1]:
            self._histograms[name].add_metric(labels, buckets, histogram.sum_us / 1e6)
