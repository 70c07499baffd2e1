"""Journal → store. `collect` does it, `thread` beside a server, `offline` without one."""

from gatehouse.collector.offline import catch_up

__all__ = ["catch_up"]
