"""`python -m tests.crash.limited_control`: control, with sections from a file in place of the directory."""

from __future__ import annotations

import sys

from gatehouse.config import leash

if __name__ == "__main__":
    started = leash.ControlProcess.parse(sys.argv[1:])
    leash.hold(started)

import logging

import msgspec
import uvloop

from gatehouse.config.settings import Settings
from gatehouse.control.counting import Counting
from gatehouse.control.process import Control
from gatehouse.control.publishing import Publisher
from gatehouse.limits.shared.embedded import binary
from gatehouse.model.snapshot import Sections
from gatehouse.store import engine

SECTIONS = "sections.json"


class LimitedControl(Control):
    """Its workers decide by the sections in `SECTIONS`."""

    def __init__(self, process: leash.ControlProcess, settings: Settings) -> None:
        super().__init__(process, settings)
        sections = msgspec.json.decode((process.data / SECTIONS).read_bytes(), type=Sections)

        async def source() -> Sections:
            return sections

        self._publisher = Publisher(self._data.snapshot, settings, self._loads, source)
        url = engine.locate(self._data.root, settings.database.url)
        self._counting = Counting(settings, self._data, url, self._publisher, binary())


def main(process: leash.ControlProcess) -> None:
    """Until SIGTERM."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="gatehouse control: %(message)s")
    settings = msgspec.json.decode(process.settings.read_bytes(), type=Settings)
    uvloop.run(LimitedControl(process, settings).run())


if __name__ == "__main__":
    main(started)
