"""Text from files, callers and providers, made safe to print. Standard library only."""

from __future__ import annotations


def clean(text: str) -> str:
    """One line that prints as it reads: control and formatting characters become U+FFFD."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
