"""The key a command sends: from an option, a file, or the variable that the provider's own SDK reads.

Rules: a key is never printed, and belongs to one provider: no other provider's variable is looked at (I3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import click

from gatehouse.cli.confidential import is_word

_Command = TypeVar("_Command", bound=Callable[..., Any])

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


def variables(provider: str) -> tuple[str, ...]:
    """The variables that hold a provider's key: its SDK's, else `NAME_API_KEY`."""
    return _VARIABLES.get(provider) or (f"{provider.upper().replace('-', '_')}_API_KEY",)


def environment_key(provider: str, environ: Mapping[str, str]) -> Key | None:
    """A provider's key from its SDK's variables; `None` if none is set. Raises `click.UsageError`."""
    for name in variables(provider):
        if value := environ.get(name):
            if not is_word(value):
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
