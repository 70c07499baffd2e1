"""The things compared: the upstream itself, nginx in front of it, Gatehouse in front of it.

Each side is a context manager that yields a running `Side`: where to send calls, and which processes to watch.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import string
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.certificate import write_certificate
from bench.processes import (
    LOAD_CORE,
    WORK_CORE,
    BenchError,
    Watched,
    command_line,
    descendants,
    pin,
    running,
    start,
    until,
)

CHAT_PATH = "/v1/chat/completions"
EMBEDDINGS_PATH = "/v1/embeddings"
SOCKET_PATH = "/v1/realtime?model=gpt-4o-realtime-preview"
_CONF = Path(__file__).with_name("nginx.conf")
_READY_SECONDS = 60.0
_SETTLE_SECONDS = 120.0
_SETTLED = 0.5


@dataclass(frozen=True)
class Side:
    """A running target. `url` takes what its upstream answers; `worker` is the process the measurement is about."""

    name: str
    url: str
    watched: tuple[Watched, ...]
    headers: tuple[tuple[str, str], ...] = ()
    """What this side needs besides the load's own headers."""
    base: str | None = None
    """Gatehouse's own address."""

    @property
    def worker(self) -> Watched:
        return self.watched[0]


@dataclass(frozen=True)
class Origin:
    """A running fake upstream."""

    url: str
    process: Watched
    certificate: Path | None
    path: str = CHAT_PATH
    """Where calls go."""


@contextlib.contextmanager
def upstream(
    directory: Path, *, size: int = 1024, events: int = 300, tls: bool = False, embeddings: bool = False
) -> Iterator[Origin]:
    """The fake provider, answering chats of `size` bytes, or embeddings."""
    command = [sys.executable, "-m", "bench.upstream", "--size", str(size), "--events", str(events)]
    command += ["--embeddings"] * embeddings
    certificate = None
    if tls:
        certificate, both = write_certificate(directory)
        command += ["--tls", str(both)]
    with running(start(command, core=LOAD_CORE)) as child:
        port = _announced(child)["port"]
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        path = EMBEDDINGS_PATH if embeddings else CHAT_PATH
        yield Origin(url, Watched("upstream", child.pid), certificate, path)


def settle(side: Side) -> None:
    """Wait until a side does nothing any more: a collector catching up would take the next side's load its core."""
    if side.base is not None:
        base = side.base
        until(lambda: lag_seconds(base) < _SETTLED, _SETTLE_SECONDS, "the collector's catching up")


def lag_seconds(base: str) -> float:
    """What `/health` says: age of the oldest journal line the store does not have yet."""
    found = get_json(base + "/health")["collector"]
    assert isinstance(found, dict)
    return float(found["lag_seconds"])


def direct(origin: Origin) -> Side:
    """No proxy at all."""
    return Side("direct", origin.url + origin.path, (origin.process,))


@contextlib.contextmanager
def nginx(origin: Origin, directory: Path) -> Iterator[Side]:
    """One worker as a plain proxy on the work core."""
    scratch = directory / "nginx"
    scratch.mkdir(exist_ok=True)
    scratch.chmod(0o777)
    port = free_port()
    conf = scratch / "nginx.conf"
    values = {"listen": str(port), "upstream": origin.url.partition("://")[2], "directory": str(scratch)}
    conf.write_text(string.Template(_CONF.read_text()).substitute(values))
    command = [machine.nginx(), "-p", str(scratch), "-c", str(conf)]
    with running(start(command, core=WORK_CORE, log=scratch / "output")) as child:
        url = f"http://127.0.0.1:{port}{origin.path}"
        until(lambda: bool(descendants(child.pid)) and _answers(url), _READY_SECONDS, "nginx", alive=child)
        yield Side("nginx", url, (Watched("nginx worker", descendants(child.pid)[0]), origin.process))


@contextlib.contextmanager
def gatehouse(origin: Origin, directory: Path) -> Iterator[Side]:
    """`gatehouse serve`, everything on: metering, pricing, hashes, journal, collector. One worker on the work core."""
    data = directory / "gatehouse"
    data.mkdir(exist_ok=True)
    config = directory / "gatehouse.yaml"
    ca_file = f"\n    ca_file: {json.dumps(str(origin.certificate))}" if origin.certificate else ""
    config.write_text(f"providers:\n  openai:\n    base_url: {json.dumps(origin.url)}{ca_file}\n")
    with serving(data, config) as (child, base):
        processes = roles(child.pid)
        pin(processes["worker"], WORK_CORE)
        pin(processes["control"], LOAD_CORE, nice=19)
        pin(child.pid, LOAD_CORE)
        watched = [Watched("worker", processes["worker"]), Watched("control", processes["control"])]
        watched += [Watched("supervisor", child.pid), origin.process]
        yield Side("gatehouse", base + "/openai" + origin.path, tuple(watched), base=base)


@contextlib.contextmanager
def serving(data: Path, config: Path | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A ready `gatehouse serve` and its base URL."""
    command = [sys.executable, "-m", "gatehouse", "serve", "--data", str(data), "--port", "0"]
    if config is not None:
        command += ["--config", str(config)]
    with running(start(command, core=None, log=data / "output", env=clean_environment())) as child:
        try:
            yield child, wait_ready(data, child)
        except BenchError as error:
            raise BenchError(f"{error}\n{(data / 'output').read_text(errors='replace')[-2000:]}") from error


def wait_ready(data: Path, child: subprocess.Popen[str]) -> str:
    """The base URL, once the gateway says it is ready."""
    state = data / "run" / "serve.json"
    until(state.exists, _READY_SECONDS, "gatehouse serve", alive=child)
    url: str = json.loads(state.read_text())["url"].rstrip("/")
    until(lambda: _status(url + "/health/ready") == 200, _READY_SECONDS, "gatehouse /health/ready", alive=child)
    return url


def roles(supervisor: int) -> dict[str, int]:
    """Pids of the worker and the control process, told apart by their command lines."""
    found: dict[str, int] = {}
    for pid in descendants(supervisor):
        for role in ("worker", "control"):
            if f"gatehouse.{role}" in command_line(pid):
                found.setdefault(role, pid)
    if set(found) != {"worker", "control"}:
        lines = [f"{pid}: {command_line(pid)}" for pid in descendants(supervisor)]
        raise BenchError(f"gatehouse's processes are not as expected: {lines}")
    return found


def clean_environment() -> dict[str, str]:
    """Ours without settings that would change what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GATEHOUSE_")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get_json(url: str) -> dict[str, object]:
    """The JSON of an answer, whatever its status: `/health` says 503 when the store is behind."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            found: dict[str, object] = json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            found = json.load(error)
    return found


def _announced(child: subprocess.Popen[str]) -> dict[str, int]:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise BenchError(f"{child.args!r} ended before it was ready")
    found: dict[str, int] = json.loads(line)
    return found


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            status: int = response.status
            return status
    except OSError:
        time.sleep(0.005)
        return 0


def _answers(url: str) -> bool:
    body = b'{"model":"gpt-4o-mini","messages":[]}'
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
