"""The control plane's Unix sockets: made so that only this user can reach them, and made again where somebody cleans
up in `run`. Whoever is connected meanwhile stays so."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NoReturn

from gatehouse.config.paths import DataDir
from gatehouse.errors import ConfigError

BACKLOG: Final = 512
LOOK_SECONDS: Final = 0.5

_log = logging.getLogger(__name__)


def listen(path: Path) -> socket.socket:
    """A Unix socket that only this user can reach, in place of one left behind. Raises `OSError`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {path}: {error.strerror or error}") from error
    return listener


async def stay(data: DataDir, path: Path, move: Callable[[socket.socket], Awaitable[None]]) -> NoReturn:
    """As long as this runs there is a socket at `path`, as `listen` made it. `move`: serve at this one instead."""
    said = ""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            listener = _again(data, path)
            if listener is None:
                continue
            await move(listener)
        except (OSError, ConfigError) as error:
            if str(error) != said:
                _log.warning("%s was taken away, and cannot be put back: %s", path, error)
            said = str(error)
        else:
            _log.warning("%s: taken away by somebody, and put back", path)
            said = ""


def _again(data: DataDir, path: Path) -> socket.socket | None:
    """A new socket at `path`, unless there is one. Raises `OSError`, `ConfigError`."""
    if path.is_socket():
        return None
    if not data.root.is_dir():
        # Not made again: somebody has moved it, and may move it back.
        raise OSError(errno.ENOENT, f"the data directory {data.root} is gone")
    data.create_run()
    return listen(path)
