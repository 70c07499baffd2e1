"""How a worker measures its event loop. For the other gauges see `tests/control/test_metrics_served`."""

from __future__ import annotations

from gatehouse.worker.gauges import Lateness


def test_the_worst_sweep_of_the_last_fifteen_seconds_counts() -> None:
    lateness = Lateness()
    assert lateness.worst == 0
    lateness.note(-0.001)  # a timer may be a little early
    assert lateness.worst == 0
    lateness.note(0.7)
    for _ in range(29):
        lateness.note(0.001)
    assert lateness.worst == 0.7
    lateness.note(0.002)
    assert lateness.worst == 0.002
