"""Loads in shared memory."""

from __future__ import annotations

import os
import subprocess
import sys

from gatehouse.config.loads import ABSENT, Gauges, Loads, Registered


def test_least_other() -> None:
    loads = Loads.create(3)
    assert loads.least_other(0) is None
    loads.set(0, 1)
    assert loads.least_other(0) is None
    loads.set(1, 7)
    loads.set(2, 5)
    assert loads.least_other(0) == 5
    assert loads.least_other(2) == 1
    loads.set(2, ABSENT)
    assert loads.least_other(0) == 7


def test_other_processes_see_it() -> None:
    loads = Loads.create(2)
    code = "import sys; from gatehouse.config.loads import Loads; Loads(int(sys.argv[1]), 2).set(1, 2**40)"
    command = [sys.executable, "-P", "-c", code, str(loads.fd)]
    subprocess.run(command, pass_fds=(loads.fd,), check=True, timeout=20)
    assert loads.least_other(0) == 2**40
    os.close(loads.fd)


def test_gauges_stand_beside_the_loads() -> None:
    loads = Loads.create(3)
    assert loads.gauges() == {}
    first = Gauges(*range(1, len(Gauges._fields) + 1))
    last = Gauges(*[2**62] * len(Gauges._fields))
    loads.set(0, 5)
    loads.publish(0, first)
    loads.publish(2, last)
    assert loads.gauges() == {0: first, 2: last}
    assert (loads.least_other(1), loads.least_other(0)) == (5, None)
    assert Loads(loads.fd, 3).gauges() == loads.gauges()
    os.close(loads.fd)


def test_a_worker_that_ended_is_gone() -> None:
    loads = Loads.create(2)
    for index in range(2):
        loads.set(index, 1)
        loads.publish(index, Gauges(*[1] * len(Gauges._fields)))
        loads.register(index, 100 + index)
        loads.serve_by(index, 7)
    loads.clear(0)
    assert loads.registered() == [Registered(1, 101, 7)]
    assert list(loads.gauges()) == [1]
    assert loads.least_other(1) is None
    os.close(loads.fd)


def test_what_a_worker_serves_by() -> None:
    loads = Loads.create(2)
    assert loads.registered() == []
    loads.register(1, 4_194_304)
    assert loads.registered() == [Registered(1, 4_194_304, 0)]
    loads.serve_by(1, 2**60)
    assert Loads(loads.fd, 2).registered() == [Registered(1, 4_194_304, 2**60)]
    loads.register(1, 77)
    assert loads.registered() == [Registered(1, 77, 0)], "its successor serves nobody yet"
    assert (loads.least_other(0), loads.gauges()) == (None, {})
    os.close(loads.fd)
