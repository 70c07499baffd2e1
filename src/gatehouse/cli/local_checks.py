"""`gatehouse doctor` without `--url`: what can be wrong on the machine that runs the gateway.

Rules: looks, changes nothing (a free port is found out by binding it for a moment); a check that needs another one's
result is left out where that failed. The order is that of starting up.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import resource
import shutil
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from gatehouse import __version__, supervisor
from gatehouse.cli.findings import Finding
from gatehouse.cli.options import Setup, set_up
from gatehouse.cli.words import size
from gatehouse.config import certificates, control_headers, masterkeys
from gatehouse.config.paths import DataDir, read_secret
from gatehouse.config.settings import Settings
from gatehouse.errors import ConfigError
from gatehouse.store import engine, reading
from gatehouse.store.engine import StoreError, StoreMissingError
from gatehouse.supervisor.lock import holder

_PATIENCE: Final = 5.0
"""Seconds for a local answer."""

_LEAST_FREE: Final = 64 * 1024 * 1024
_NEARLY_FULL: Final = 0.8
_HEALTH_BYTES: Final = 1024 * 1024
_LOOK: Final = "look at what `gatehouse serve` printed"
_CALLS_GO_ON: Final = f"{_LOOK}; calls go on meanwhile and are kept in the journal"


def run(environ: Mapping[str, str], data: str | None, config: Path | None) -> Iterator[Finding]:
    """Findings as they are made."""
    try:
        directory = DataDir.locate(data, environ)
    except ConfigError as error:
        yield Finding("fail", "data directory", str(error))
        return
    setup: Setup | None = None
    try:
        setup = set_up(environ, data, config)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield Finding("fail", "configuration", line, "correct it; docs/configuration.md lists every key")
    else:
        file = setup.effective.file
        yield Finding("ok", "configuration", str(file) if file else "defaults: there is no gatehouse.yaml")
        yield from _files(setup.settings)
    yield from _directory(directory)
    if setup is None or not _can_look_into(directory.root):
        return
    yield from _secrets(setup, environ)
    yield _accounts(setup)
    yield from _disk(directory, setup.settings)
    yield _descriptors(setup.settings)
    yield from _processes(setup)
    yield _store(setup)


def _files(settings: Settings) -> Iterator[Finding]:
    """Files that the configuration names."""
    wrong = list(certificates.problems(settings))
    for says in wrong:
        yield Finding("fail", "certificate", says, "name PEM files that this user may read, the key unencrypted")
    if settings.server.tls_cert is not None and not wrong:
        yield Finding("ok", "certificate", settings.server.tls_cert)


def _directory(data: DataDir) -> Iterator[Finding]:
    try:
        found = data.root.stat()
    except FileNotFoundError:
        parent = _existing(data.root)
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding("ok", "data directory", f"{data.root} is not there yet; `gatehouse serve` makes it")
        else:
            says = f"{data.root} cannot be made: {parent} is not writable"
            yield Finding("fail", "data directory", says, "choose another with --data or GATEHOUSE_DATA")
        return
    except OSError as error:
        yield Finding("fail", "data directory", f"{data.root}: {error.strerror}", "choose another with --data")
        return
    if not stat.S_ISDIR(found.st_mode):
        yield Finding("fail", "data directory", f"{data.root} is no directory", "choose another with --data")
    elif found.st_uid != os.geteuid():
        says = f"{data.root} belongs to user id {found.st_uid}, this is user id {os.geteuid()}"
        yield Finding("fail", "data directory", says, "run gatehouse as the owner, or choose another with --data")
    elif found.st_mode & 0o077:
        says = f"{data.root} is open to others (mode {stat.S_IMODE(found.st_mode):04o})"
        level: Any = "fail" if found.st_mode & 0o022 else "warn"
        yield Finding(level, "data directory", says, f"chmod 700 {data.root}")
    elif not os.access(data.root, os.W_OK | os.X_OK):
        yield Finding("fail", "data directory", f"{data.root} is not writable", f"chmod 700 {data.root}")
    else:
        yield Finding("ok", "data directory", str(data.root))


def _secrets(setup: Setup, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What is there; whether it opens what is stored, `gatehouse serve` finds out."""
    data, secrets = setup.data, setup.settings.secrets
    checks: list[Callable[[], object]] = [
        partial(read_secret, path) for path in (data.journal_hmac, data.platform_jwt) if path.exists()
    ]
    # A program is not run for a look.
    if secrets.key_file or secrets.key_env or (data.master_keys.exists() and not secrets.key_command):
        checks.append(partial(masterkeys.read, secrets, data, environ, create=False))
    for check in checks:
        try:
            check()
        except ConfigError as error:
            yield Finding("fail", "secrets", str(error), "put it right before the next `gatehouse serve`")


def _accounts(setup: Setup) -> Finding:
    if setup.settings.auth.enabled:
        return Finding("ok", "accounts", "on: callers need a gateway key")
    if setup.data.accounts.exists():
        says = "off by auth.enabled, although there is an owner: whoever reaches the port may call, keys are refused"
        return Finding("warn", "accounts", says, "take auth.enabled out of the configuration, or leave it so")
    return Finding("ok", "accounts", "off: whoever reaches the port may call; `gatehouse init` turns them on")


def _disk(data: DataDir, settings: Settings) -> Iterator[Finding]:
    usage = shutil.disk_usage(_existing(data.root))
    try:
        used = _used(data)
    except PermissionError as error:
        yield Finding(
            "fail", "journal", f"cannot read {error.filename}: {error.strerror}", f"chmod 700 {error.filename}"
        )
        return
    limit = settings.journal.max_bytes
    if usage.free < _LEAST_FREE:
        yield Finding("fail", "disk", f"only {size(usage.free)} are free", "make room: without it calls are refused")
    elif usage.free < limit - used:
        says = f"{size(usage.free)} are free; the journal may grow by {size(limit - used)} (journal.max_bytes)"
        yield Finding("warn", "disk", says, "make room, or lower journal.max_bytes")
    else:
        yield Finding("ok", "disk", f"{size(usage.free)} free")
    if used > limit * _NEARLY_FULL:
        says = f"the journal holds {size(used)} of {size(limit)} (journal.max_bytes)"
        then = "calls are refused" if settings.journal.when_full == "refuse" else "its oldest collected part is deleted"
        yield Finding("warn", "journal", says, f"raise journal.max_bytes; when it is full, {then}")
    else:
        yield Finding("ok", "journal", f"{size(used)} of at most {size(limit)}; `gatehouse verify` checks its chain")


def _used(data: DataDir) -> int:
    """Bytes of the journal; segments come and go meanwhile. Raises `PermissionError`."""
    used = 0
    for lane in data.journal.iterdir() if data.journal.is_dir() else ():
        with suppress(FileNotFoundError, NotADirectoryError):
            for segment in lane.iterdir():
                with suppress(FileNotFoundError):
                    used += segment.stat().st_size
    return used


def _descriptors(settings: Settings) -> Finding:
    """A call takes two: its client's connection and its provider's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * settings.limits.connections
    if hard != resource.RLIM_INFINITY and hard < needed:
        return Finding(
            "warn",
            "descriptors",
            f"a process may open {hard} files; limits.connections {settings.limits.connections} may need {needed}",
            "raise the hard limit (ulimit -Hn, LimitNOFILE=), or lower limits.connections",
        )
    return Finding("ok", "descriptors", "unlimited" if hard == resource.RLIM_INFINITY else f"up to {hard} a process")


def _processes(setup: Setup) -> Iterator[Finding]:
    serving = supervisor.find(setup.data)
    if serving is not None:
        yield Finding("ok", "running", f"pid {serving.pid} at {serving.url}")
        if serving.version != __version__:
            says = f"version {serving.version} runs, version {__version__} is installed"
            yield Finding("warn", "running", says, "restart `gatehouse serve`")
        yield from _health(serving.url, setup)
        return
    pid = holder(setup.data)
    if pid is not None:
        says = f"pid {pid} has the data directory, but is not ready"
        yield Finding("warn", "running", says, "it starts or stops: look again in a moment")
        return
    yield Finding("ok", "running", "no: `gatehouse serve` starts it")
    yield _port(setup.settings)


def _port(settings: Settings) -> Finding:
    server = settings.server
    if server.port == 0:
        return Finding("ok", "port", "any free one (server.port 0)")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        says = f"{server.host} port {server.port} cannot be listened on: {error.strerror or error}"
        return Finding("fail", "port", says, "choose another with --port or --host, or stop what listens there")
    return Finding("ok", "port", f"{server.host} port {server.port} is free")


def _health(url: str, setup: Setup) -> Iterator[Finding]:
    """What the running gateway says of itself."""
    began = time.monotonic()
    try:
        status, said = _get_json(url, "/health", setup.settings)
    except (OSError, http.client.HTTPException, ssl.SSLError) as error:
        says = f"{url} does not answer: {error or type(error).__name__}"
        yield Finding("fail", "gateway", says, "look at what `gatehouse serve` printed; restart it if this stays")
        return
    yield Finding("ok", "gateway", f"answers within {(time.monotonic() - began) * 1000:.0f} ms")
    if not isinstance(said.get("services"), dict):
        yield Finding("fail", "gateway", f"/health answered {status}, and not as expected", _LOOK)
        return
    if "collector" not in said:
        # With accounts on, whoever asks at the port is a stranger.
        said = _told_operator(setup.data) | said
    elif setup.settings.auth.enabled:
        says = "it was started without accounts, and they are on since: whoever reaches the port may call"
        yield Finding("warn", "accounts", says, "stop `gatehouse serve` and start it again")
    for name, state in said["services"].items():
        good = state == "connected"
        yield Finding(
            "ok" if good else "fail",
            str(name),
            f"{state}{_lag(said) * (name == 'collector')}",
            "" if good else _CALLS_GO_ON if name in ("store", "collector") else _LOOK,
        )
    yield from (Finding("fail", "gateway", str(sentence), _LOOK) for sentence in said.get("problems", ()))
    yield from (Finding("warn", "gateway", str(sentence), _LOOK) for sentence in said.get("warnings", ()))


class _Socket(http.client.HTTPConnection):
    """To the control plane, on its own socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("gatehouse", timeout=_PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_PATIENCE)
        self.sock.connect(str(self._path))


def _told_operator(data: DataDir) -> dict[str, Any]:
    """What `/health` says to whoever operates the gateway; nothing where control does not answer."""
    connection = _Socket(data.control_socket)
    try:
        connection.request("GET", "/health", headers={control_headers.LOCAL_TOKEN: read_secret(data.local_token).hex()})
        return msgspec.json.decode(connection.getresponse().read(_HEALTH_BYTES), type=dict[str, Any])
    except (OSError, http.client.HTTPException, ConfigError, msgspec.DecodeError):
        return {}
    finally:
        connection.close()


def _lag(said: Mapping[str, Any]) -> str:
    """How far the store is behind the journal. Control tells that to callers it knows."""
    collector = said.get("collector")
    if not isinstance(collector, dict):
        return ""
    return f", {collector.get('lag_seconds')} s and {collector.get('lines_behind')} lines behind"


def _get_json(url: str, path: str, settings: Settings) -> tuple[int, dict[str, Any]]:
    """GET from our own listener. Raises `OSError`, `HTTPException`."""
    scheme, _, authority = url.partition("://")
    host, _, port = authority.rpartition(":")
    host = host.strip("[]")
    if scheme == "https":
        # Our own certificate, for whatever name it was made: that it is ours is what counts.
        context = ssl.create_default_context(cafile=settings.server.tls_cert)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, int(port), timeout=_PATIENCE, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, int(port), timeout=_PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(_HEALTH_BYTES)
    finally:
        connection.close()
    try:
        return answer.status, msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return answer.status, {}


def _store(setup: Setup) -> Finding:
    url = engine.locate(setup.data.root, setup.settings.database.url)

    async def look() -> None:
        async with reading.open(setup.data.root, setup.settings.database.url) as reader:
            await reader.last()

    try:
        asyncio.run(look())
    except StoreMissingError:
        return Finding("ok", "store", "not there yet; `gatehouse serve` makes it")
    except StoreError as error:
        if not engine.is_file(url):
            return Finding("fail", "store", str(error), "look at database.url and at its server (docs/store.md)")
        return Finding("fail", "store", str(error), "stop the gateway, then `gatehouse store rebuild`")
    return Finding("ok", "store", f"{engine.shown(url)} is readable")


def _can_look_into(path: Path) -> bool:
    """A directory that is not there yet is no obstacle."""
    try:
        os.scandir(path).close()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())
