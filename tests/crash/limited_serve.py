"""`python -m tests.crash.limited_serve DATA PORT SETTINGS`: `gatehouse serve`, with `limited_control` for control."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from gatehouse import supervisor
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Settings


def main(data: str, port: str, settings: str) -> int:
    """Until SIGTERM."""
    given = Path(settings).read_bytes()
    workers = msgspec.json.decode(given, type=Settings).server.workers
    return supervisor.main(
        supervisor.Options(
            data=DataDir(Path(data)),
            settings=given,
            host="127.0.0.1",
            port=int(port),
            workers=workers,
            grace_seconds=5.0,
            on_ready=lambda serving: None,
            control_module="tests.crash.limited_control",
        )
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
