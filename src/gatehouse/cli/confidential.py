"""Secrets that a command takes: by prompt, from stdin or from a file. On the command line, tokens and keys alone.

Rules: what was read is never printed and in no message. A file is read up to `LIMIT`; more is refused, not cut.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import click
import msgspec

from gatehouse.config.printable import clean

LIMIT: Final = 64 * 1024

_Command = TypeVar("_Command", bound=Callable[..., Any])


def secret_option(command: _Command) -> _Command:
    """`--secret-file FILE`."""
    told = "File that holds the secret; `-` for stdin. Else you are asked, or stdin is read if it is no terminal."
    return click.option("--secret-file", metavar="FILE", help=told)(command)


def secret(file: str | None, kind: str) -> str | dict[str, Any]:
    """A provider's secret: the key's text of `api_key`, else the fields of the JSON object that was given.

    Raises `click.UsageError`.
    """
    if file is None and sys.stdin.isatty():
        if kind != "api_key":
            raise click.UsageError(f"A secret of the kind {kind} is a JSON object: name its file by --secret-file.")
        text: str = click.prompt("Secret", hide_input=True, err=True)
    else:
        text = content(file or "-", "the secret")
    return read(text, kind)


def read(text: str, kind: str) -> str | dict[str, Any]:
    """What a text says. Raises `click.UsageError`, which holds nothing of it."""
    text = text.strip()
    if not text:
        raise click.UsageError("The secret is empty.")
    if kind == "api_key":
        return text
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        # Not chained: it may say what it found.
        raise click.UsageError(f"A secret of the kind {kind} is a JSON object, and this is none.") from None


def given(what: Literal["token", "key"], value: str | None, file: str | None) -> str | None:
    """The token or key that `--token` and `--token-file`, or `--key` and `--key-file`, name: of a file the first line.

    Raises `click.UsageError` for one that cannot be one.
    """
    if value is not None and file is not None:
        raise click.UsageError(f"--{what} and --{what}-file exclude each other.")
    if file is not None:
        value = content(file, f"the {what}", line=True).strip()
    if value is not None and not is_word(value):
        raise click.UsageError(f"The {what} is empty or holds characters that no {what} has.")
    return value


def is_word(text: str) -> bool:
    """Whether a header can hold it as it is: it is not empty, and ASCII without spaces."""
    return text.isascii() and text.isprintable() and text != "" and " " not in text


def content(file: str, what: str, *, line: bool = False) -> str:
    """A file's text, or its first line; `-` is stdin. Raises `click.UsageError`."""
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as opened:
            found: bytes = opened.readline(LIMIT + 1) if line else opened.read(LIMIT + 1)
        if len(found) > LIMIT:
            raise click.UsageError(f"{clean(file)} holds more than {LIMIT // 1024} KiB: that is not {what}.")
        return found.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"Cannot read {what} from {clean(file)}: it is no UTF-8 text.") from None
    except OSError as error:
        raise click.UsageError(f"Cannot read {what} from {clean(file)}: {error.strerror}.") from error
