"""A control process without a control plane."""

from __future__ import annotations

import signal
import sys
import time

from gatehouse.config import leash
from tests.supervisor.behaviour import begin, say


def main() -> None:
    process = leash.ControlProcess.parse(sys.argv[1:])
    behaviour = begin(process, "control")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    leash.say_ready(process)
    signal.sigwait({signal.SIGTERM})
    say(event="stopping", name="control")
    stop = behaviour.get("stop", 0)
    time.sleep(60 if stop == "never" else stop)
    say(event="stopped", name="control")


main()
