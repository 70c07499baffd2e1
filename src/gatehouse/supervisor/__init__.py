"""Starts and watches the processes. Knows nothing of HTTP, settings or the journal; standard library only."""

from gatehouse.supervisor.serve import Options, main
from gatehouse.supervisor.serving import Serving, find

__all__ = ["Options", "Serving", "find", "main"]
