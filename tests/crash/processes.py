"""What the operating system knows of a gateway: its processes, their memory and descriptors, its port and its locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from tests.running import Gateway

_PAGE = os.sysconf("SC_PAGE_SIZE")


T = TypeVar("T")


def wait_until(condition: Callable[[], T], seconds: float, what: str) -> T:
    """Look until it is so, and return what was found; a failed assertion after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return found


def of(data: Path) -> dict[int, str]:
    """The processes that work on a data directory, with their command lines; the dead ones not counted."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if f" {data} " in words and " gatehouse" in words:
                    found[int(entry.name)] = words
    return found


def control_pid(house: Gateway) -> int | None:
    """`None` while it does not run."""
    return next((pid for pid, command in house.children().items() if "gatehouse.control" in command), None)


def kill(pid: int | None) -> None:
    """`kill -9`; whoever is gone already does not matter."""
    if pid is None:
        return
    assert pid > 1
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def state(pid: int) -> str:
    """`T` stopped, `Z` dead and not reaped, and so on; empty if there is no such process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def resident(pid: int) -> int:
    """Bytes of memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def peak(pid: int) -> int:
    """The most bytes of memory a process has held since it started."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) * 1024


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def free_port() -> int:
    """A port nobody listens on now, and none that the system gives away: while the gateway is down, a client's own
    connection could take such a one, or even connect to itself."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return next(port for port in random.sample(range(10_000, lowest), 100) if can_listen(port))


def can_listen(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        probe.listen()
        return True


def can_connect(port: int) -> bool:
    """Whether a connection is taken there, by the kernel at least."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def held(locks: Iterable[Path]) -> list[Path]:
    """Which of these files somebody has locked."""
    found = []
    for path in locks:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(path)
    return found


def assert_nothing_left(data: Path, port: int) -> None:
    """Once `serve` has ended: no process, nobody at the port, no lock held, nothing in `run`."""
    wait_until(lambda: not of(data), 30.0, f"processes end: {of(data)}")
    assert can_listen(port), f"somebody still listens on port {port}"
    assert held([data / "lock", data / "collector.lock", *(data / "journal").glob("*/lock")]) == []
    assert list((data / "run").iterdir()) == []
