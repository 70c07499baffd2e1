"""`ports.Background` on disk: which calls began responses that providers generate in the background.

Whichever worker of this data directory reads such a response when it is over finds its call, restarts or not. That is
all the files are for: what a response used stands in the journal, with the call that read it. Several machines that
share a server for their limits have them there instead (`limits.shared.background`).

Rules
- One small file per response, in a directory per project, by digests of their ids. It is written as a whole, and is for
  whoever deletes it: so a response counts once, however many read it at the same time.
- Of a project the newest `MOST` are kept, and some more until somebody looks. What is older than `KEPT_SECONDS` goes
  when a worker keeps or takes its first. Of a forgotten one nothing is counted, and what limits count for it stays.
- A thread of its own does all of it, in order: what was kept is there for whoever asks afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec

from gatehouse.config.paths import sync_directory, write_private
from gatehouse.model.background import KEPT_SECONDS, MOST, Begun, Response

_log = logging.getLogger(__name__)


class KeptBackground:
    """The files below one directory, for one worker."""

    def __init__(self, directory: Path, most: int = MOST) -> None:
        self._directory = directory
        self._most = most
        self._thread = ThreadPoolExecutor(1, "background")
        self._counts: dict[Path, int] = {}
        """Files of a project, about: other workers add to them, too."""
        self._looked = False
        self._trouble = ""

    async def keep(self, response: Response, begun: Begun) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._keep, self._path(response), begun)

    async def take(self, response: Response) -> Begun | None:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._take, self._path(response))

    def _look(self) -> None:
        """Once: at all projects, whether or not they ever come again."""
        if self._looked:
            return
        self._looked = True
        with suppress(OSError):
            for directory in list(self._directory.iterdir()):
                with suppress(OSError):
                    self._look_at(directory)

    def _look_at(self, directory: Path) -> None:
        # One that nothing has come into or gone from for so long is nobody's any more.
        unused = directory.stat().st_mtime < time.time() - KEPT_SECONDS
        self._counts[directory] = _tidied(directory, self._most)
        if unused and not self._counts[directory]:
            directory.rmdir()

    async def close(self) -> None:
        """After the last call."""
        self._thread.shutdown()

    def _path(self, response: Response) -> Path:
        return self._directory.joinpath(*response.place)

    def _keep(self, path: Path, begun: Begun) -> None:
        self._look()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # One that a loss of power takes is forgotten, or torn, which shows.
            write_private(path, msgspec.msgpack.encode(begun), durable=False)
            most, known = self._most, self._counts.get(path.parent)
            count = _tidied(path.parent, most) if known is None or known > most + most // 8 else known + 1
            self._counts[path.parent] = count
            self._trouble = ""
        except OSError as error:
            self._say(f"what responses in the background use cannot be counted: {error}")

    def _take(self, path: Path) -> Begun | None:
        self._look()
        try:
            with path.open("rb") as file:
                path.unlink()  # of several who have opened it, one can
                content = file.read()
            begun = msgspec.msgpack.decode(content, type=Begun)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._say(f"who began a response in the background cannot be told: {path}: {error}")
            return None
        try:
            sync_directory(path.parent)
        except OSError as error:
            self._say(f"a response in the background may count twice after a loss of power: {error}")
        return begun

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            _log.warning("%s", trouble)
        self._trouble = trouble


def _tidied(directory: Path, most: int) -> int:
    """Delete what is too old, and the oldest of what is too many. Returns how many are left. Raises `OSError`."""
    edge = time.time() - KEPT_SECONDS
    found = sorted(_files(directory, edge))
    gone = found[: max(sum(at < edge for at, _ in found), len(found) - most)]
    for _, path in gone:
        with suppress(FileNotFoundError):
            os.unlink(path)
    return len(found) - len(gone)


def _files(directory: Path, edge: float) -> Iterator[tuple[float, str]]:
    """When each was written, and its path. Other workers take some meanwhile, and are writing others: of those only
    what was left lying before `edge`."""
    for entry in os.scandir(directory):
        with suppress(FileNotFoundError):
            at = entry.stat().st_mtime
            if not entry.name.startswith(".") or at < edge:
                yield at, entry.path
