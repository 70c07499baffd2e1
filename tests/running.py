"""A real `gatehouse serve` for tests: started as a subprocess on a free port, read through its journal, always ended.

    with gateway({"providers": {"openai": {"base_url": fake.url}}}) as house:
        with house.recorded() as records:
            OpenAI(base_url=house.url + "/openai/v1", api_key="sk-test").models.list()
        assert records[0].outcome["outcome"] == "ok"

Rules: what a test knows about a call it knows from the journal, as a stranger would read it; processes are ended by
pid, with the supervisor's children, also when it was killed.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests import fakes
from tests.fakes import Fake, GzipPolicy, Seen, host_of

_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0
_INTERNAL = ("x-gatehouse", "x-forwarded", "x-ongoingai", "cf-", "sec-fetch")
_NOT_FORWARDED = (
    "cookie",
    "forwarded",
    "via",
    "x-real-ip",
    "origin",
    "referer",
    "proxy-authorization",
    "te",
    "upgrade",
)


@dataclass(frozen=True)
class Line:
    """One line of the journal."""

    header: dict[str, Any]
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.header["kind"])


@dataclass(frozen=True)
class Record:
    """One ended call. `decision` is empty for a call that ended before forwarding: `outcome` is then both (I2)."""

    call: str
    decision: dict[str, Any]
    outcome: dict[str, Any]
    lines: tuple[Line, ...]

    @property
    def usage(self) -> dict[str, int]:
        """The parts of `Usage` that are not zero."""
        return dict(self.outcome.get("usage") or {})


class Journal:
    """Reads lanes as they grow. Incremental: a test with thousands of calls reads each line once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[tuple[str, str], int] = {}
        self.lines: list[Line] = []

    def poll(self) -> list[Line]:
        """All whole lines so far, in the order they were found."""
        for lane in sorted(path for path in self._directory.glob("*") if path.is_dir()):
            names = {path.name.removesuffix(".gz") for path in lane.glob("*.jsonl*")}
            for name in sorted(names):
                self._segment(lane, name)
        return self.lines

    def _segment(self, lane: Path, name: str) -> None:
        key = (lane.name, name)
        try:
            content = (lane / name).read_bytes()
        except FileNotFoundError:
            content = gzip.decompress((lane / (name + ".gz")).read_bytes())
        fresh = content[self._read.get(key, 0) :]
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read[key] = self._read.get(key, 0) + len(whole)
        for text in whole.splitlines():
            line = json.loads(text)
            self.lines.append(Line(line["header"], line.get("body", {})))

    def records(self) -> dict[str, Record]:
        """Ended calls by id, in the order they ended."""
        by_call: dict[str, list[Line]] = {}
        for line in self.poll():
            if "call" in line.body and line.kind in ("decision", "outcome", "call"):
                by_call.setdefault(line.body["call"], []).append(line)
        ended = [line for line in self.lines if line.kind in ("outcome", "call")]
        found = {}
        for line in ended:
            lines = by_call[line.body["call"]]
            decision = next((each.body for each in lines if each.kind == "decision"), {})
            found[line.body["call"]] = Record(line.body["call"], decision, line.body, tuple(lines))
        return found


def moment() -> str:
    """What the ids of calls that begin from now on sort after (UUIDv7): an earlier call whose outcome comes only now,
    because nobody waited for it, is told apart."""
    milliseconds = time.time_ns() // 1_000_000
    return f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}"


@dataclass
class Gateway:
    """A running gateway."""

    url: str
    data: Path
    config: Path
    process: subprocess.Popen[bytes]
    output: Path
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.journal = Journal(self.data / "journal")

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self.process.pid

    @property
    def host(self) -> str:
        """`127.0.0.1:port`."""
        return self.url.partition("://")[2]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def children(self) -> dict[int, str]:
        """Pids of the supervisor's descendants and their command lines."""
        return {pid: _command_line(pid) for pid in _descendants(self.pid)}

    def worker_pids(self) -> list[int]:
        return [pid for pid, command in self.children().items() if "gatehouse.worker" in command]

    @contextlib.contextmanager
    def recorded(self, count: int = 1, timeout: float = 30.0) -> Iterator[list[Record]]:
        """The records of the calls made inside the block: exactly `count`, in the list once the block is left."""
        since = moment()
        found: list[Record] = []
        yield found
        found += self.wait_records(since, count, timeout)
        assert len(found) == count, f"{len(found)} calls were recorded instead of {count}"

    def wait_records(self, since: str, count: int, timeout: float = 30.0) -> list[Record]:
        """Ended calls that began at or after a `moment`, once there are `count`."""
        deadline = time.monotonic() + timeout
        while True:
            fresh = [record for call, record in self.journal.records().items() if call >= since]
            if len(fresh) >= count:
                return fresh
            said = f"{len(fresh)} of {count} calls have an outcome after {timeout} s:\n{self.said()}"
            assert time.monotonic() < deadline, said
            time.sleep(0.005)

    def run(
        self, *arguments: str, timeout: float = 30.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The command line tool, on this data directory."""
        return subprocess.run(
            [sys.executable, "-m", "gatehouse", *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={
                **environment(),
                "GATEHOUSE_DATA": str(self.data),
                "GATEHOUSE_CONFIG": str(self.config),
                **(env or {}),
            },
        )

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One request as plain as it gets: status, headers and body, whatever the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        status, _, body = self.call("GET", path, None, headers)
        return status, body

    def get_json(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        status, body = self.get(path, headers)
        assert status == 200, f"{path} answered {status}: {body[:500]!r}"
        return json.loads(body)

    def healthy(self, path: str = "/health", timeout: float = 30.0) -> Any:
        """`/health` once it is: calls are served before the store is open."""
        deadline = time.monotonic() + timeout
        while True:
            status, body = self.get(path)
            if status == 200:
                return json.loads(body)
            assert time.monotonic() < deadline, f"{path} still answers {status}: {body[:500]!r}"
            time.sleep(0.02)

    def stored(self, call: str, timeout: float = 30.0) -> Any:
        """The trace of an ended call by the management API, once it is collected."""
        deadline = time.monotonic() + timeout
        while True:
            status, body = self.get(f"/api/v1/traces/{call}")
            if status == 200 and (trace := json.loads(body))["outcome"] != "open":
                return trace
            assert time.monotonic() < deadline, f"{call} is not in the store after {timeout} s: {status} {body[:300]!r}"
            time.sleep(0.02)

    def local_token(self) -> str:
        """Proves that a caller may read the data directory."""
        return (self.data / "run" / "local-token").read_text().strip()

    def stop(self, number: int = signal.SIGTERM, timeout: float = _STOP_SECONDS) -> int:
        """Signal the supervisor and wait for it; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)

    def said(self) -> str:
        """What its processes printed."""
        return self.output.read_text(errors="replace")[-4000:]


@contextlib.contextmanager
def gateway(
    config: Mapping[str, Any] | None = None,
    *,
    data: Path | None = None,
    arguments: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    wrapper: tuple[str, ...] = (),
) -> Iterator[Gateway]:
    """A ready gateway with this configuration; with `data` on a directory that outlives it.

    `wrapper`: a command that becomes (execs) the command given to it as further arguments.
    """
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gatehouse-test-")))
        directory = data if data is not None else scratch / "data"
        path, output = scratch / "gatehouse.yaml", scratch / "output"
        path.write_text(yaml.safe_dump(dict(config or {})))
        command = [*wrapper, sys.executable, "-m", "gatehouse", "serve", "--data", str(directory)]
        command += ["--config", str(path), "--port", "0", *arguments]
        with output.open("wb") as sink:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**environment(), **(env or {})},
                start_new_session=True,
            )
        stack.callback(_end, process)
        url = _ready(process, directory, output)
        yield Gateway(url, directory, path, process, output)


@dataclass(frozen=True)
class House:
    """A gateway in front of the four fake providers."""

    gateway: Gateway
    openai: Fake
    anthropic: Fake
    gemini: Fake
    azure: Fake

    @property
    def url(self) -> str:
        return self.gateway.url

    @property
    def fakes(self) -> tuple[Fake, ...]:
        return (self.openai, self.anthropic, self.gemini, self.azure)

    def only(self, fake: Fake) -> Seen:
        """The one request any provider saw, at this one; and it carries nothing of ours, nor who the client is."""
        seen = [request for each in self.fakes for request in each.requests]
        assert len(seen) == 1, [f"{request.method} {request.target}" for request in seen]
        assert fake.requests == seen, "another provider got the request"
        leaked = [name for name in seen[0].names() if name.startswith(_INTERNAL) or name in _NOT_FORWARDED]
        assert leaked == [], f"these headers must not reach a provider: {leaked}"
        assert seen[0].header("host") == host_of(fake.url)
        return seen[0]

    def reset(self) -> None:
        """Between tests that share it: the fakes behave again and remember nothing."""
        for fake in self.fakes:
            assert fake.faults == [], fake.faults
            fake.behave()
            fake.requests.clear()


@contextlib.contextmanager
def house(
    extra: Mapping[str, Any] | None = None, *, gzip_policy: GzipPolicy = "json", data: Path | None = None
) -> Iterator[House]:
    """All four fakes and a gateway whose providers point at them. `extra`: further configuration; `data`: as there."""
    with contextlib.ExitStack() as stack:
        running = {
            "openai": stack.enter_context(fakes.openai(gzip_policy=gzip_policy)),
            "anthropic": stack.enter_context(fakes.anthropic(gzip_policy=gzip_policy)),
            "google": stack.enter_context(fakes.gemini(gzip_policy=gzip_policy)),
            "azure": stack.enter_context(fakes.azure(gzip_policy=gzip_policy)),
        }
        providers = {name: {"base_url": fake.url} for name, fake in running.items()}
        config = dict(extra or {})
        config["providers"] = {**providers, **config.get("providers", {})}
        started = stack.enter_context(gateway(config, data=data))
        yield House(started, running["openai"], running["anthropic"], running["google"], running["azure"])


def environment() -> dict[str, str]:
    """Ours without settings of a gateway or keys of a provider, which the SDKs read too."""
    dropped = ("GATEHOUSE_", "OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_", "AZURE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def _ready(process: subprocess.Popen[bytes], data: Path, output: Path) -> str:
    state = data / "run" / "serve.json"
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(
                f"serve ended with {process.returncode}:\n{output.read_text(errors='replace')[-4000:]}"
            )
        with contextlib.suppress(FileNotFoundError, ValueError):
            serving = json.loads(state.read_bytes())
            if serving["pid"] == process.pid:
                return str(serving["url"]).rstrip("/")
        time.sleep(0.01)
    raise AssertionError(
        f"serve was not ready within {_READY_SECONDS} s:\n{output.read_text(errors='replace')[-4000:]}"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL, for the supervisor; then whatever of its children is left."""
    tree = {pid: _started(pid) for pid in _descendants(process.pid)}
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid, started in tree.items():
        # The same pid may be somebody else's by now: only a process that started when ours did is ended.
        if started and _started(pid) == started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _STOP_SECONDS
    while any(started and _started(pid) == started for pid, started in tree.items()):
        # Until then it may write to the directory that is about to be removed.
        assert time.monotonic() < deadline, f"processes of {process.pid} do not end: {tree}"
        time.sleep(0.01)


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty if there is none, or it is dead and not reaped."""
    with contextlib.suppress(OSError, IndexError):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if words[0] == "Z" else words[19]
    return ""


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
