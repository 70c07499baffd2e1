"""What `apply` works on: what there is, and the requests that make it what a file says. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gatehouse.cli.declared import From

PROJECTS, CREDENTIALS, USES, KEYS, LIMITS, LIMITS_GONE, KEYS_GONE, USES_GONE, CREDENTIALS_GONE, PROJECTS_GONE = range(
    10
)
"""Phases, in their order."""

Item = Mapping[str, Any]
"""A thing as the API shows it."""


class Ref(NamedTuple):
    """A thing by its name, in place of its id."""

    kind: str
    name: str


class State(NamedTuple):
    """What there is. Keys: those that are taken."""

    projects: Sequence[Item]
    credentials: Sequence[Item]
    keys: Sequence[Item]
    limits: Sequence[Item]
    users: Mapping[str, str]
    """E-mail by id."""
    rotated: Sequence[Item] = ()
    """Keys that have a successor among `keys`, or had."""


class Step(NamedTuple):
    """One request."""

    phase: int
    says: str
    """`+ project web`, `~ key web/ci: owner a → b`, `- limit …`."""
    method: str
    path: tuple[str | Ref, ...]
    body: Mapping[str, Any] | None = None
    makes: Ref | None = None
    secret: From | None = None
    """Where `body["secret"]` comes from."""
    kind: str = "api_key"
    """Of the secret."""


class Plan(NamedTuple):
    """Steps in their order, or why there are none: (`keys[3]`, sentence)."""

    steps: list[Step]
    problems: list[tuple[str, str]]
