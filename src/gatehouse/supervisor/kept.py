"""What `serve` itself has put into `run`, and puts back where somebody cleans up there.

Without it no process that died would start again, and no command would find the gateway. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gatehouse.config.paths import DataDir, write_private


class Kept:
    """The files of one `serve`. `log`: with one line at a time."""

    def __init__(self, data: DataDir, log: Callable[[str], None]) -> None:
        self._run = data.run
        self._log = log
        self._files: dict[Path, bytes] = {}
        self._said = ""

    def write(self, path: Path, content: bytes) -> None:
        """A file in `run`, 0600, from now on kept. Raises `OSError`."""
        write_private(path, content)
        self.keep(path, content)

    def keep(self, path: Path, content: bytes) -> None:
        """The same for one that stands there already."""
        self._files[path] = content

    def restore(self) -> None:
        """Put back what is missing. What cannot be is said, once, and tried again by the next call."""
        missing = [path for path in self._files if not path.exists()]
        if not missing:
            return
        try:
            # Only this one: a data directory that was moved away is not made again.
            self._run.mkdir(mode=0o700, exist_ok=True)
            for path in missing:
                write_private(path, self._files[path])
        except OSError as error:
            said = f"{missing[0]} was taken away, and cannot be put back: {error.strerror}"
            if said != self._said:
                self._log(said)
            self._said = said
        else:
            self._log(f"{', '.join(map(str, missing))}: taken away by somebody, and put back")
            self._said = ""
