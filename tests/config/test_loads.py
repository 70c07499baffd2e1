"""Loads in shared memory."""

from __future__ import annotations

import os
import subprocess
import sys

from gatehouse.config.loads import ABSENT, Loads


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
