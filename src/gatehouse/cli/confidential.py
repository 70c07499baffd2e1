"""Secrets that a command takes: by prompt, from stdin or from a file. Never from the command line, a token apart.

Rules: what was read is never printed and in no message. A file is read up to `LIMIT`; more is refused, not cut.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

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


def given_token(token: str | None, file: str | None) -> str | None:
    """The token the options name. Raises `click.UsageError` for one that is none."""
    if token is not None and file is not None:
        raise click.UsageError("--token and --token-file exclude each other.")
    if file is not None:
        token = content(file, "the token").partition("\n")[0].strip()
    if token is not None and not (token.isascii() and token.isprintable() and token and " " not in token):
        raise click.UsageError("The token is empty or holds characters that no token has.")
    return token


def content(file: str, what: str) -> str:
    """A file's text, `-` is stdin. Raises `click.UsageError`."""
    try:
        if file == "-":
            read_bytes = sys.stdin.buffer.read(LIMIT + 1)
        else:
            with Path(file).open("rb") as opened:
                read_bytes = opened.read(LIMIT + 1)
        if len(read_bytes) > LIMIT:
            raise click.UsageError(f"{clean(file)} holds more than {LIMIT // 1024} KiB: that is not {what}.")
        return read_bytes.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"Cannot read {what} from {clean(file)}: it is no UTF-8 text.") from None
    except OSError as error:
        raise click.UsageError(f"Cannot read {what} from {clean(file)}: {error.strerror}.") from error
