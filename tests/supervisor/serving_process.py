"""Runs the real supervisor with the small children: `python -m tests.supervisor.serving_process OPTIONS`, as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys

from gatehouse.config.paths import DataDir
from gatehouse.supervisor import Options, Serving, main
from tests.supervisor.behaviour import say


def announce(serving: Serving) -> None:
    say(event="ready", **dataclasses.asdict(serving))


def run() -> int:
    given = json.loads(sys.argv[1])
    if "terminal" in given:
        # Whoever runs the tests may ignore it, as `nohup` does: that would be inherited.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        # The first terminal a session leader opens becomes its controlling one.
        os.open(given.pop("terminal"), os.O_RDWR)
    return main(
        Options(
            data=DataDir.locate(given.pop("data"), {}),
            settings=json.dumps(given.pop("settings")).encode(),
            on_ready=announce,
            control_module="tests.supervisor.small_control",
            worker_module="tests.supervisor.small_worker",
            **given,
        )
    )


if __name__ == "__main__":
    sys.exit(run())
