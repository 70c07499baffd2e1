"""Where no `serve` runs: this process takes the data directory's lock and answers the management API itself."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Final, Protocol

import click

from gatehouse import supervisor
from gatehouse.cli.options import Setup
from gatehouse.cli.sdk_variables import gateway_url
from gatehouse.config.paths import DataDir
from gatehouse.config.printable import clean
from gatehouse.errors import ConfigError
from gatehouse.supervisor.failure import StartError
from gatehouse.supervisor.lock import lock
from gatehouse.supervisor.serving import Serving

PATIENCE: Final = 10.0
"""Seconds to wait until another command is done with the directory, or a `serve` has started."""

_APPLICATION: Final = "gatehouse.control.offline"
"""Imported by name where it is needed: it takes as long to import as all else together."""
_SOMEWHERE: Final = "http://127.0.0.1:8080"


@contextmanager
def occupied(data: DataDir) -> Iterator[Serving | None]:
    """The `serve` that runs on the directory; `None`: it is ours, until the end of the context.

    Raises `ConfigError`; `click.ClickException` where somebody else keeps it.
    """
    data.create()
    deadline = time.monotonic() + PATIENCE
    while True:
        serving = supervisor.find(data)
        if serving is not None:
            yield serving
            return
        try:
            descriptor = lock(data)
            break
        except StartError as error:
            if time.monotonic() >= deadline:
                raise click.ClickException(clean(str(error))) from error
    try:
        yield None
    finally:
        os.close(descriptor)


class Unattended(Protocol):
    """The management API over a directory that is ours (`control.offline.Offline`)."""

    data: DataDir
    token: bytes
    """The local token it takes."""

    def running(self, *, records: bool = False) -> AbstractAsyncContextManager[Any]:
        """The ASGI application. `records`: what the journal holds is collected first."""


def unattended(setup: Setup, environ: Mapping[str, str]) -> Unattended:
    """All that has to be there before the event loop. Raises `ConfigError`."""
    try:
        address = gateway_url(setup)
    except ConfigError:
        # The port is left to chance: nobody can say yet.
        address = _SOMEWHERE
    control = importlib.import_module(_APPLICATION)
    found: Unattended = control.Offline(setup.data, setup.settings, setup.providers, address, environ)
    return found
