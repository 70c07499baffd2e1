"""The key a command sends: from an option, a file, or the variable that the provider's own SDK reads.

Rules: a key is never printed, and belongs to one provider: no other provider's variable is looked at (I3).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

_KEY_BYTES: Final = 8192

_VARIABLES: Final[dict[str, tuple[str, ...]]] = {
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "google": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "azure": ("AZURE_OPENAI_API_KEY",),
}
"""Where an SDK reads another name than its provider's: openai-py, anthropic-py, google-genai and AzureOpenAI."""

_TOKENS: Final = ("sk-ant-oat", "gth_")
"""What Anthropic takes as `Authorization: Bearer` only, and what every position takes."""


class Key(NamedTuple):
    """A key, and whether its variable says that it goes as `Authorization: Bearer`."""

    value: str
    bearer: bool = False


def key_options(command: _Command) -> _Command:
    """`--key KEY` and `--key-file FILE`."""
    file = click.option("--key-file", metavar="FILE", help="File whose first line is the key; `-` for stdin.")
    return click.option("--key", help="Key to send. Other users can see it in the process list.")(file(command))


def given_key(key: str | None, key_file: str | None) -> str | None:
    """The key the options name. Raises `click.UsageError` for one that is none."""
    if key is not None and key_file is not None:
        raise click.UsageError("--key and --key-file exclude each other.")
    if key_file is not None:
        key = _read(key_file)
    if key is not None and not _is_key(key):
        raise click.UsageError("The key is empty or holds characters that no key has.")
    return key


def variables(provider: str) -> tuple[str, ...]:
    """The variables that hold a provider's key: its SDK's, else `NAME_API_KEY`."""
    return _VARIABLES.get(provider) or (f"{provider.upper().replace('-', '_')}_API_KEY",)


def environment_key(provider: str, environ: Mapping[str, str]) -> Key | None:
    """A provider's key from its SDK's variables; `None` if none is set. Raises `click.UsageError`."""
    for name in variables(provider):
        if value := environ.get(name):
            if not _is_key(value):
                raise click.UsageError(f"{name} holds characters that no key has.")
            return Key(value, bearer=name.endswith("_AUTH_TOKEN"))
    return None


def key_header(key: Key, dialect: str, *, azure: bool) -> tuple[str, str]:
    """The header a dialect's SDK sends a key in."""
    if azure:
        return "api-key", key.value
    if dialect == "google":
        return "x-goog-api-key", key.value
    if dialect == "anthropic" and not key.bearer and not key.value.startswith(_TOKENS):
        return "x-api-key", key.value
    return "authorization", f"Bearer {key.value}"


def _is_key(text: str) -> bool:
    return text.isascii() and text.isprintable() and text != "" and " " not in text


def _read(name: str) -> str:
    try:
        if name == "-":
            text = sys.stdin.readline(_KEY_BYTES)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.readline(_KEY_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"Cannot read the key from {name}: {error}") from error
    return text.strip()
