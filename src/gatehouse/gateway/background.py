"""`ports.Background` on disk: which calls began responses that providers generate in the background.

Whichever worker of this data directory reads such a response when it is over finds its call, restarts or not. That is
all the files are for: what a response used stands in the journal, with the call that read it. Several machines that
share a server for their limits have them there instead (`limits.shared.background`).

Rules
- One small file per response, in a directory per project, by digests of their ids. It is written as a whole, and is for
  whoever moves it away first: so a response counts once, however many read it at the same time.
- Of a project `MOST` are kept. Where more would be, those go that are older than `KEPT_SECONDS`, then the oldest. Of a
  forgotten one nothing is counted, and what limits count for it stays.
- A thread of its own does all of it, in order: what was kept is there for whoever asks afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from gatehouse.config.paths import write_private
from gatehouse.model.background import KEPT_SECONDS, MOST, Begun, Response

_TAKEN: Final = ".taken"
_log = logging.getLogger(__name__)


class KeptBackground:
    """The files below one directory, for one worker."""

    def __init__(self, directory: Path, most: int = MOST) -> None:
        self._directory = directory
        self._most = most
        self._thread = ThreadPoolExecutor(1, "background")
        self._counts: dict[Path, int] = {}
        """Files of a project, about: other workers add to them, too."""
        self._trouble = ""

    async def keep(self, response: Response, begun: Begun) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._keep, self._path(response), begun)

    async def take(self, response: Response) -> Begun | None:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._take, self._path(response))

    async def close(self) -> None:
        """After the last call."""
        self._thread.shutdown()

    def _path(self, response: Response) -> Path:
        return self._directory.joinpath(*response.place)

    def _keep(self, path: Path, begun: Begun) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, msgspec.msgpack.encode(begun))
            count = self._counts.get(path.parent, self._most) + 1
            self._counts[path.parent] = _tidied(path.parent, self._most) if count > self._most else count
            self._trouble = ""
        except OSError as error:
            self._say(f"what responses in the background use cannot be counted: {error}")

    def _take(self, path: Path) -> Begun | None:
        taken = path.with_name(f"{path.name}.{os.getpid()}{_TAKEN}")
        try:
            path.rename(taken)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._say(f"who began a response in the background cannot be told: {error}")
            return None
        begun = None
        try:
            begun = msgspec.msgpack.decode(taken.read_bytes(), type=Begun)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._say(f"who began a response in the background cannot be read: {taken}: {error}")
        with suppress(OSError):
            taken.unlink()
        return begun

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            _log.warning("%s", trouble)
        self._trouble = trouble


def _tidied(directory: Path, most: int) -> int:
    """Delete what is too old, and the oldest of what is too many. Returns how many are left. Raises `OSError`."""
    found = sorted((entry.stat().st_mtime, entry.path) for entry in os.scandir(directory))
    edge = time.time() - KEPT_SECONDS
    old = sum(at < edge for at, _ in found)
    # With room for some, so that the next one need not look again.
    many = len(found) - most * 7 // 8 if len(found) > most else 0
    gone = found[: max(old, many)]
    for _, path in gone:
        with suppress(FileNotFoundError):
            os.unlink(path)
    return len(found) - len(gone)
