"""A gateway whose journal stands on a disk of its own, a few megabytes large: a tmpfs in a private mount namespace.

The namespace, and with it the disk, ends with the last process in it, so nothing is left behind whatever happens; root
is not needed where the system lets users have namespaces. `disk` reaches into it from outside and keeps it in being.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import running
from tests.running import Gateway

_UNSHARE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--mount")
_MOUNT = 'mount -t tmpfs -o size="$1",mode=0700 tmpfs "$2" && shift 2 && exec "$@"'
_BLOCK = 64 * 1024


@contextlib.contextmanager
def gateway(config: Mapping[str, Any], data: Path, size: int) -> Iterator[tuple[Gateway, Path]]:
    """A ready gateway and the path of its journal as this process sees it. `size` of the disk is in bytes."""
    journal = data / "journal"
    journal.mkdir(mode=0o700, parents=True)
    data.chmod(0o700)
    wrapper = (*_UNSHARE, "sh", "-c", _MOUNT, "sh", str(size), str(journal))
    tried = subprocess.run([*wrapper, "true"], capture_output=True, text=True, timeout=20, check=False)
    if tried.returncode:
        pytest.skip(f"no private mount namespace here: {tried.stderr.strip()}")
    with running.gateway(config, data=data, wrapper=wrapper) as house:
        inside = os.open(f"/proc/{house.pid}/root{journal}", os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield house, Path(f"/proc/{os.getpid()}/fd/{inside}")
        finally:
            os.close(inside)


def fill(disk: Path) -> Path:
    """Take every byte that is free there; returns the file that has them."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (_BLOCK, 4096):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    assert os.statvfs(disk).f_bavail == 0
    return ballast
