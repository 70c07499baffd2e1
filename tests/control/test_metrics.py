"""O10, `/metrics`: what Prometheus' own parsers read there, and that `docs/metrics.md` says the same."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from prometheus_client import parser
from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser

from gatehouse.collector.state import CollectorState, StoppedLane
from gatehouse.collector.tally import BOUNDS, MOST_PAIRS, MOST_SERIES, Tally
from gatehouse.config.loads import SWEEP_SECONDS, Gauges, Loads
from gatehouse.control.health import Health, assess, told_by_limits
from gatehouse.control.metrics import METRICS
from gatehouse.store.rows import Batch, RefusedCount
from tests.control.serving import JOURNAL, api, well
from tests.store.samples import LANE, START, call_id, concluded, decided

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
QUIET = Gauges(*[0] * len(Gauges._fields))

Samples = dict[tuple[str, ...], float]
"""Value by name and label values, in the order of the labels' names."""


def families(text: str) -> dict[str, Metric]:
    """By the name that Prometheus shows. The text format's parser takes `_total` off, as OpenMetrics does."""
    found = list(parser.text_string_to_metric_families(text))
    return {f"{family.name}_total" if family.type == "counter" else family.name: family for family in found}


def samples(text: str) -> Samples:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families(text).values()
        for sample in family.samples
    }


def _tally() -> Tally:
    tally = Tally()
    name = call_id()
    asked = decided(name, stream=True, model='a "quoted" \\ model')
    refused = RefusedCount("default", "default", LANE, 9, "BAD_REQUEST", "malformed", 3, START, START)
    failed = concluded(name, outcome="cut", replayed=True, attempts=2, first_token_us=700_000, duration_us=3_000_000)
    tally.count([(asked, failed)], Batch(refused=(refused,)))
    return tally


def _loads(*workers: Gauges) -> Loads:
    loads = Loads.create(len(workers) + 1)
    for index, gauges in enumerate(workers):
        loads.publish(index, gauges)
    return loads


def _scrape(
    data: Path, tally: Tally, loads: Loads, headers: dict[str, str] | None = None, health: Health | None = None
) -> httpx2.Response:
    async def run() -> httpx2.Response:
        async with api(data, lambda: health or well(), tally=tally, loads=loads) as client:
            return await client.get("/metrics", headers=headers)

    try:
        return asyncio.run(run())
    finally:
        os.close(loads.fd)


def test_the_page_lists_what_is_exposed(tmp_path: Path) -> None:
    """Every metric with type, labels and meaning, no more and no fewer."""
    shared = told_by_limits(well(), "")
    scraped = families(_scrape(tmp_path, _tally(), _loads(QUIET._replace(swept=1)), health=shared).text)
    assert list(scraped) == [metric.name for metric in METRICS]
    rows = re.findall(r"^\| `(gatehouse_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert [name for name, *_ in rows] == list(scraped)
    for name, kind, labels, meaning in rows:
        family = scraped[name]
        assert (family.type, family.documentation) == (kind, meaning), name
        assert family.samples, name
        for sample in family.samples:
            assert set(re.findall(r"`(\w+)`", labels)) == sample.labels.keys() - {"le"}, name


def test_the_page_names_the_bounds() -> None:
    page = DOCUMENT.read_text()
    assert f"first {MOST_PAIRS} pairs" in page
    assert f"first {MOST_SERIES:,} triples" in page
    assert f"end at {', '.join(f'{bound:g}' for bound in BOUNDS)} seconds" in page


def test_figures_of_calls(tmp_path: Path) -> None:
    found = samples(_scrape(tmp_path, _tally(), _loads()).text)
    model = 'a "quoted" \\ model'
    assert found["gatehouse_requests_total", model, "cut", "openai", "openai/chat", "2xx"] == 1
    assert found["gatehouse_request_duration_seconds_count", model, "openai", "openai/chat"] == 1
    assert found["gatehouse_request_duration_seconds_sum", model, "openai", "openai/chat"] == 3
    assert found["gatehouse_request_duration_seconds_bucket", "2.5", model, "openai", "openai/chat"] == 0
    assert found["gatehouse_request_duration_seconds_bucket", "5.0", model, "openai", "openai/chat"] == 1
    assert found["gatehouse_request_duration_seconds_bucket", "+Inf", model, "openai", "openai/chat"] == 1
    assert found["gatehouse_time_to_first_token_seconds_sum", model, "openai", "openai/chat"] == 0.7
    assert found["gatehouse_tokens_total", model, "input", "openai"] == 70
    assert found["gatehouse_cost_dollars_total", model, "openai"] == 0.000012345
    assert found["gatehouse_unpriced_calls_total", model, "openai"] == 0
    assert found["gatehouse_errors_total", "cut", "openai"] == 1
    assert found["gatehouse_attempts_total", "openai"] == 2
    assert found["gatehouse_replays_total", "openai"] == 1
    assert found["gatehouse_refusals_total", "BAD_REQUEST"] == 3


def test_openmetrics_for_who_asks(tmp_path: Path) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    just_now = QUIET._replace(swept=time.monotonic_ns() + 10**12)  # and no later, however long this test takes
    plain = _scrape(tmp_path, _tally(), _loads(just_now))
    asked = _scrape(tmp_path, _tally(), _loads(just_now), {"accept": accept})
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert asked.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    parse: Callable[[str], Iterator[Metric]] = openmetrics_parser.text_string_to_metric_families
    read = list(parse(asked.text))
    assert [family.samples for family in read] == [family.samples for family in families(plain.text).values()]


@pytest.mark.parametrize("accept", ["", ";;;=,", "text/plain;version=x.y", "application/openmetrics-text;version=x;q="])
def test_no_accept_header_is_too_strange(tmp_path: Path, accept: str) -> None:
    response = _scrape(tmp_path, Tally(), _loads(), {"accept": accept})
    assert response.status_code == 200


def test_figures_of_workers(tmp_path: Path) -> None:
    now = time.monotonic_ns()
    busy = QUIET._replace(swept=now, late_us=250_000, calls=3, streams=2, idle=4, used=5, waiting=6, journal_state=1)
    hung = QUIET._replace(swept=now - 60 * 10**9)
    found = samples(_scrape(tmp_path, Tally(), _loads(busy, hung)).text)
    assert found["gatehouse_worker_open_calls", "0"] == 3
    assert found["gatehouse_worker_open_streams", "0"] == 2
    assert found["gatehouse_worker_upstream_connections", "idle", "0"] == 4
    assert found["gatehouse_worker_upstream_connections", "in_use", "0"] == 5
    assert found["gatehouse_worker_upstream_waiting", "0"] == 6
    assert [found["gatehouse_worker_journal_state", state, "0"] for state in ("ok", "full", "failing")] == [0, 1, 0]
    assert 0.25 <= found["gatehouse_worker_event_loop_lag_seconds", "0"] < 30
    # A worker that does not come to its sweep cannot say so.
    assert 60 - SWEEP_SECONDS <= found["gatehouse_worker_event_loop_lag_seconds", "1"] < 90


def test_figures_of_control(tmp_path: Path) -> None:
    stopped = (StoppedLane("lane-9", 4, "does not hold"),)
    state = CollectorState(
        store="unavailable", error="gone", oldest=START - 90_000_000, lines_behind=7, collected=8, stopped=stopped
    )
    health = told_by_limits(assess("1.2.3", state, START, JOURNAL, [], warn=False), "no answer")
    found = samples(_scrape(tmp_path, Tally(), _loads(), health=health).text)
    assert found["gatehouse_collector_lag_seconds",] == 90
    assert found["gatehouse_collector_lag_lines",] == 7
    assert found["gatehouse_collector_lines_total",] == 8
    assert found["gatehouse_collector_stopped_lanes",] == 1
    states = [found["gatehouse_store_state", name] for name in ("starting", "connected", "unavailable")]
    assert states == [0, 0, 1]
    assert found["gatehouse_limits_connected",] == 0
    assert found["gatehouse_journal_state", "ok"] == 1
    assert (found["gatehouse_journal_bytes",], found["gatehouse_journal_max_bytes",]) == (10, 100)
    assert sum(name[0] == "gatehouse_build_info" for name in found) == 1


def test_only_callers_on_this_machine_get_it(tmp_path: Path) -> None:
    response = _scrape(tmp_path, Tally(), _loads(), {"x-gatehouse-peer": "192.0.2.7"})
    assert (response.status_code, response.json()["code"]) == (403, "FORBIDDEN")
