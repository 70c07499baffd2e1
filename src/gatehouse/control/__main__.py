"""`python -m gatehouse.control`: started by the supervisor, never by hand."""

from __future__ import annotations

import sys

from gatehouse.config import leash
from gatehouse.control.process import main

if __name__ == "__main__":
    process = leash.ControlProcess.parse(sys.argv[1:])
    leash.hold(process)
    sys.exit(main(process))
