"""`python -m gatehouse.worker`: started by the supervisor, never by hand."""

from __future__ import annotations

import sys

from gatehouse.config import leash

if __name__ == "__main__":
    process = leash.WorkerProcess.parse(sys.argv[1:])
    leash.hold(process)  # before the slow imports: a parent that dies meanwhile must not leave this process behind

from gatehouse.worker.process import main

if __name__ == "__main__":
    sys.exit(main(process))
