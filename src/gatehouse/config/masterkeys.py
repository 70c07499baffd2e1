"""The master keys that seal provider secrets: read from where the operator keeps them, made only in our own directory.

Rules: one place holds them all, the newest first; the newest seals, each opens (`auth.vault`). A key is 32 random bytes
in URL-safe base64, 44 characters; keys are separated by spaces or lines. Without a place of the operator's choice it is
`DataDir.master_keys`, made at the first need and never while secrets exist that it would not open. What a place holds
is never in a message. A command is a list of words from the operator's file; no shell reads it, and what it says on
stderr is dropped, since it may hold what it was asked for.

Rotation of a file in the data directory is three steps, so that a crash between them loses nothing: `add` a key, seal
everything anew, `keep_newest`. Anywhere else the operator does the first and the last.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gatehouse.config import leash
from gatehouse.config.paths import SECRET_BYTES, DataDir, create_secret, read_private, write_private
from gatehouse.config.settings import Secrets
from gatehouse.errors import ConfigError

_KEY: Final = re.compile(rb"[A-Za-z0-9_-]{43}=")
_LIMIT: Final = 64 * 1024
_MOST: Final = 100
_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP


def read(secrets: Secrets, data: DataDir, environ: Mapping[str, str], *, create: bool) -> tuple[bytes, ...]:
    """The keys, the newest first.

    `create`: make the data directory's file if it is missing. Only for who knows that no secret is sealed yet.
    Raises `ConfigError`. May run a program, for up to `secrets.key_command_seconds`: call it from the main thread.
    """
    if secrets.key_file is not None:
        return _keys(_file(Path(secrets.key_file)), f"secrets.key_file ({secrets.key_file})")
    if secrets.key_env is not None:
        found = environ.get(secrets.key_env, "")
        if not found.strip():
            raise ConfigError(f"the variable {secrets.key_env}, which secrets.key_env names, is not set or empty")
        return _keys(found.encode(errors="replace"), f"the variable {secrets.key_env}")
    if secrets.key_command:
        return _keys(_printed(secrets, environ), "what secrets.key_command printed")
    if create:
        create_secret(data.master_keys, new_key() + b"\n")
    return _own(data.master_keys)


def new_key() -> bytes:
    """A fresh random key, as it stands in a file."""
    return urlsafe_b64encode(os.urandom(SECRET_BYTES))


def add(data: DataDir) -> tuple[bytes, ...]:
    """Put a new key before those in the data directory, and return all. Raises `ConfigError`."""
    return _replaced(data.master_keys, (new_key(), *_own(data.master_keys)))


def keep_newest(data: DataDir) -> tuple[bytes, ...]:
    """Drop all keys but the newest from the data directory, once nothing is sealed with them. Raises `ConfigError`."""
    return _replaced(data.master_keys, _own(data.master_keys)[:1])


def _own(path: Path) -> tuple[bytes, ...]:
    try:
        return _keys(read_private(path, _LIMIT), str(path))
    except FileNotFoundError as error:
        raise ConfigError(
            f"there are stored provider secrets, but {path}, which opens them, is missing; restore it from a backup, "
            f"or say with secrets.key_file, key_env or key_command where the keys are now"
        ) from error


def _replaced(path: Path, keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
    try:
        write_private(path, b"\n".join(keys) + b"\n")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    return keys


def _keys(text: bytes, place: str) -> tuple[bytes, ...]:
    words = text.split()
    if not words:
        raise ConfigError(f"{place} holds no master key")
    for number, word in enumerate(words, 1):
        if not _KEY.fullmatch(word):
            raise ConfigError(
                f"{place}: word {number} is no master key, which is 32 random bytes in URL-safe base64 (44 characters)"
            )
    if len(words) > _MOST:
        raise ConfigError(f"{place} holds more than {_MOST} keys")
    return tuple(dict.fromkeys(words))


def _file(path: Path) -> bytes:
    """A file that somebody else put there, with the rights that mounts of secrets can have: a link, another owner."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"secrets.key_file ({path}) is not a regular file")
            if found.st_mode & _OTHERS:
                raise ConfigError(
                    f"secrets.key_file ({path}) is open to others (mode {stat.S_IMODE(found.st_mode):04o}); "
                    f"give it mode 0400, or 0440 with a group of its own"
                )
            return file.read(_LIMIT)
    except OSError as error:
        raise ConfigError(f"cannot read secrets.key_file ({path}): {error.strerror}") from error


def _printed(secrets: Secrets, environ: Mapping[str, str]) -> bytes:
    name = secrets.key_command[0]
    passed = {key: value for key, value in environ.items() if not key.startswith("GATEHOUSE_")}
    if shutil.which(name, path=environ.get("PATH")) is None:
        raise ConfigError(f"secrets.key_command: there is no program {name}")
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command, as words
            leash.command(secrets.key_command),
            env=passed,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=secrets.key_command_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        # Not chained: the exception holds what was printed so far.
        raise ConfigError(
            f"secrets.key_command ({name}) was not done within {secrets.key_command_seconds:g} s"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot run secrets.key_command ({name}): {error.strerror}") from error
    if done.returncode != 0:
        raise ConfigError(
            f"secrets.key_command ({name}) ended with status {done.returncode}; run it by hand to see why"
        )
    return done.stdout[:_LIMIT]
