"""The data directory: where everything Gatehouse keeps on disk stands, and how private files come to be.

Rules: standard library only, since every process imports it. `DataDir` is pure apart from `create`. Directories are
made 0700, files 0600. Nothing here repairs permissions or replaces a secret by itself: what is not as it should be is
refused with a sentence that says how to put it right. `docs/processes.md` lists every path with its mode.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gatehouse.errors import ConfigError

SECRET_BYTES: Final = 32

_SOCKET_PATH_BYTES: Final = 103
"""macOS has 104 bytes for a Unix socket's path with its NUL, Linux 108."""


@dataclass(frozen=True)
class DataDir:
    """The layout below one absolute `root`. Nothing has to exist before `create`."""

    root: Path

    @classmethod
    def locate(cls, given: str | None, environ: Mapping[str, str]) -> DataDir:
        """From `--data`, else `GATEHOUSE_DATA`, else the XDG data directory. Empty values count as not given.

        Raises `ConfigError` where none is given and the user has no home directory.
        """
        chosen = given or environ.get("GATEHOUSE_DATA")
        try:
            if chosen:
                return cls(Path(os.path.abspath(Path(chosen).expanduser())))
            xdg = environ.get("XDG_DATA_HOME", "")
            # The XDG specification: a relative path there is invalid and to be ignored.
            base = Path(xdg) if os.path.isabs(xdg) else Path(environ.get("HOME") or Path.home()) / ".local" / "share"
        except RuntimeError as error:
            raise ConfigError(f"no data directory: {error}; name one with --data or GATEHOUSE_DATA") from error
        return cls(Path(os.path.abspath(base / "gatehouse")))

    @property
    def lock(self) -> Path:
        """Locked with flock(2) by the one running supervisor; holds its pid."""
        return self.root / "lock"

    @property
    def journal(self) -> Path:
        """Directory of lanes and their segments."""
        return self.root / "journal"

    @property
    def collector_lock(self) -> Path:
        """Locked with flock(2) by the one process that collects the journal into the store."""
        return self.root / "collector.lock"

    @property
    def snapshot(self) -> Path:
        """The last snapshot (`gateway.persisted`): what a worker starts from."""
        return self.root / "snapshot.bin"

    @property
    def openings(self) -> Path:
        """What limits have spent (`gateway.openings`): what a worker that starts counts on from."""
        return self.root / "openings.bin"

    @property
    def background(self) -> Path:
        """Directory of what is to be known of responses that are generated in the background (`gateway.background`)."""
        return self.root / "background"

    @property
    def secrets(self) -> Path:
        """Directory of random keys, one file each."""
        return self.root / "secrets"

    @property
    def journal_hmac(self) -> Path:
        """Key of the HMACs that stand in the journal for low-entropy values; `SECRET_BYTES` raw bytes."""
        return self.secrets / "journal-hmac"

    @property
    def master_keys(self) -> Path:
        """The keys that seal provider secrets, where the operator names no other place (`config.masterkeys`)."""
        return self.secrets / "master-keys"

    @property
    def platform_jwt(self) -> Path:
        """Key that signs the management API's own tokens; `SECRET_BYTES` raw bytes."""
        return self.secrets / "platform-jwt"

    @property
    def accounts(self) -> Path:
        """Is there once the directory has an owner: `auth.enabled` is then on unless it is set."""
        return self.root / "accounts"

    @property
    def setup(self) -> Path:
        """What is kept of the one-time token that `serve` prints while nobody has an account."""
        return self.run / "setup"

    @property
    def run(self) -> Path:
        """Directory of what lives no longer than one `serve`."""
        return self.root / "run"

    @property
    def settings(self) -> Path:
        """The settings that `serve` hands to its children."""
        return self.run / "settings"

    @property
    def serving(self) -> Path:
        """Pid, address and version of the running `serve`, as JSON."""
        return self.run / "serve.json"

    @property
    def local_token(self) -> Path:
        """The token that proves a local caller may read this directory."""
        return self.run / "local-token"

    @property
    def control_socket(self) -> Path:
        """Where the control plane listens.

        In `run`, unless that path is too long for a Unix socket: then in a directory of this user's own below `/tmp`,
        under a name derived from `root`.
        """
        return self._socket("control.sock", "")

    @property
    def snapshot_socket(self) -> Path:
        """Where the control plane hands newer snapshots to workers. As `control_socket`."""
        return self._socket("snapshot.sock", "-snapshot")

    @property
    def limits_socket(self) -> Path:
        """Where the embedded Valkey listens that several workers share limits in. As `control_socket`."""
        return self._socket("limits.sock", "-limits")

    @property
    def limits_log(self) -> Path:
        """What it said since its last start."""
        return self.run / "limits.log"

    def _socket(self, name: str, suffix: str) -> Path:
        path = self.run / name
        if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
            return path
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:24]
        # Fixed, not $TMPDIR: every process of every environment must come to the same path. `create` checks the owner.
        return Path(f"/tmp/gatehouse-{os.geteuid()}") / f"{digest}{suffix}.sock"  # noqa: S108

    def create(self) -> None:
        """Make what is missing, 0700, and check the rest. Raises `ConfigError`."""
        for directory in (self.root, self.journal, self.secrets):
            _private_directory(directory, directory.stat)
        self.create_run()

    def create_run(self) -> None:
        """The same for what lives no longer than one `serve`: `run`, and where sockets stand."""
        _private_directory(self.run, self.run.stat)
        for socket in (self.control_socket, self.snapshot_socket):
            # Not through a symbolic link: below `/tmp` anybody may have put one.
            _private_directory(socket.parent, socket.parent.lstat)


def _private_directory(path: Path, look: Callable[[], os.stat_result]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        found = look()
    except OSError as error:
        raise ConfigError(
            f"cannot create the directory {path}: {error.strerror}; choose another data directory with --data"
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path} is a symbolic link; remove it")
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"the directory {path} belongs to user id {found.st_uid}, but gatehouse runs as user id {os.geteuid()}; "
            f"run it as the owner, `chown` the directory, or choose another one with --data"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"the directory {path} is writable by others (mode {stat.S_IMODE(found.st_mode):04o}); "
            f"run `chmod 700 {path}`, or choose another one with --data"
        )


def write_private(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write `path` as a whole, mode 0600: readers see the old content or the new. On disk when it returns; if it is not
    to be `durable`, a loss of power may leave either, or an incomplete one.

    Raises `OSError`, which names `path`; it is then as it was, or as it should be and maybe not on disk.
    """
    temporary = _write_beside(path, content, durable=durable)
    with _in_place_of(path, temporary):
        os.replace(temporary, path)
    if durable:
        sync_directory(path.parent)


def create_or_read_secret(path: Path) -> bytes:
    """The `SECRET_BYTES` random bytes at `path`, made at the first call: of several racing processes, all get the same.

    Raises `ConfigError` as `read_secret` does, and where the file cannot be made. An existing file is never replaced.
    """
    with suppress(FileNotFoundError):
        return _read_secret(path)
    create_secret(path, os.urandom(SECRET_BYTES))
    return read_secret(path)


def create_secret(path: Path, content: bytes) -> None:
    """A file with `content` at `path`, unless one stands there already. Raises `ConfigError` if none can be made."""
    try:
        temporary = _write_beside(path, content)
        try:
            # link(2), not rename(2): it fails where a file stands already, and never shows a half-written one.
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        sync_directory(path.parent)
    except OSError as error:
        raise ConfigError(f"cannot create the secret {path}: {error.strerror}") from error


def read_secret(path: Path) -> bytes:
    """The `SECRET_BYTES` bytes at `path`.

    Raises `ConfigError` if the file is missing, not of that size, readable by others, or somebody else's.
    """
    try:
        return _read_secret(path)
    except FileNotFoundError as error:
        raise ConfigError(f"the secret {path} is missing; restore it from a backup") from error


def read_private(path: Path, limit: int) -> bytes:
    """Up to `limit` bytes of a file that is this user's alone.

    Raises `FileNotFoundError`; `ConfigError` if it is readable by others, somebody else's, or no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"cannot read the secret {path}: {error.strerror}") from error
    with open(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"the secret {path} is not a regular file")
        if found.st_uid != os.geteuid():
            raise ConfigError(f"the secret {path} belongs to user id {found.st_uid}; `chown` it to {os.geteuid()}")
        if found.st_mode & 0o077:
            raise ConfigError(
                f"the secret {path} is open to others (mode {stat.S_IMODE(found.st_mode):04o}); "
                f"run `chmod 600 {path}`, and replace it if somebody may have read it"
            )
        return file.read(limit)


def _read_secret(path: Path) -> bytes:
    content = read_private(path, SECRET_BYTES + 1)
    if len(content) != SECRET_BYTES:
        held = f"more than {SECRET_BYTES}" if len(content) > SECRET_BYTES else str(len(content))
        raise ConfigError(
            f"the secret {path} holds {held} bytes instead of {SECRET_BYTES}; restore it from a backup. "
            f"It is not replaced by itself, since what it protects could then no longer be read"
        )
    return content


def _write_beside(path: Path, content: bytes, *, durable: bool = True) -> Path:
    """A new file in `path`'s directory with `content`, 0600 and on disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(6).hex()}")
    with _in_place_of(path, temporary):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    return temporary


@contextmanager
def _in_place_of(path: Path, temporary: Path) -> Iterator[None]:
    """What fails inside leaves no temporary file, and its error names `path`: a write(2) that fails names no file, an
    open(2) one that nobody knows."""
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def sync_directory(path: Path) -> None:
    """Have on disk which files there are. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
