"""`python -m gatehouse.control`: started by the supervisor, never by hand."""

from __future__ import annotations

import sys

from gatehouse.config import leash

if __name__ == "__main__":
    process = leash.ControlProcess.parse(sys.argv[1:])
    leash.hold(process)  # before the slow imports, as in `gatehouse.worker`

from gatehouse.control.process import main

if __name__ == "__main__":
    sys.exit(main(process))
