"""What an `apply` file says: projects, credentials, keys and limits, by name.

Rules: strict YAML (`config.yamltree`); an unknown field is an error, with its line. A field that is left out is not
governed: it stays as it is, or takes the API's default where the thing is new. No secret stands in the file, only where
one comes from. Limits are written as on the command line (`caps`), each whole.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from gatehouse.cli import caps
from gatehouse.config import yamltree
from gatehouse.config.yamltree import Items, Mapping, Problem, Scalar, Tree, Unreadable
from gatehouse.errors import ConfigError
from gatehouse.model.access import CredentialKind, Environment
from gatehouse.model.limits import DEFAULT_SHARE, WINDOWS, AtCap, OnUnknown, WhenDown

MAX_BYTES: Final = 16 * 1024 * 1024
TOP: Final = ("tenant", "user", "model", "credential")
"""What the file's section `limits` is about; a project's limits and a key's stand with it."""

Name = Annotated[str, Meta(min_length=1, max_length=256)]
_STEP: Final = re.compile(r"\.([A-Za-z_]+)|\[([0-9]+)\]")


class Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping in the file."""


class Cap(Part, frozen=True):
    """A limit, but for what it is on. Exactly one of the first four."""

    requests: str | None = None
    tokens: str | None = None
    concurrency: int | str | None = None
    spend: str | None = None
    hard: bool = True
    at_cap: AtCap = "reject"
    on_unknown: OnUnknown = "bound"
    when_down: WhenDown | None = None
    assumed: str | None = None
    share: Annotated[int, Meta(ge=1, le=100)] = DEFAULT_SHARE

    def terms(self) -> dict[str, Any]:
        """As the API has them. Raises `ValueError`: a sentence."""
        given = [(measure, value) for measure in WINDOWS if (value := getattr(self, measure)) is not None]
        if len(given) != 1:
            raise ValueError(f"a limit has exactly one of {', '.join(WINDOWS)}")
        measure, value = given[0]
        cap = caps.read(measure, str(value))
        return {
            "measure": cap.measure,
            "window": cap.window,
            "cap": cap.amount,
            "hard": self.hard,
            "at_cap": self.at_cap,
            "on_unknown": self.on_unknown,
            "when_down": self.when_down,
            "assumed": None if self.assumed is None else caps.read_amount("spend", self.assumed),
            "max_reserved_share": self.share,
        }


class CapOn(Cap, frozen=True, kw_only=True):
    """A limit of the tenant, or on a user, a user of identity tokens, a model or credential."""

    on: Annotated[str, Meta(pattern=r"^(tenant|(user|identity|model|credential) \S.*)$")]


class Use(Part, frozen=True):
    """A provider that a project uses by a credential."""

    provider: Name
    credential: Name
    weight: int | UnsetType = UNSET


class Project(Part, frozen=True):
    """A project."""

    name: Name
    type: str | UnsetType = UNSET
    environment: str | UnsetType = UNSET
    team: str | UnsetType = UNSET
    own_keys: bool | None | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    providers: list[Use] | UnsetType = UNSET
    limits: list[Cap] | UnsetType = UNSET


class From(Part, frozen=True):
    """Where a secret comes from: exactly one of these."""

    env: Name | None = None
    file: Name | None = None


class Credential(Part, frozen=True):
    """A provider's secret."""

    name: Name
    provider: Name
    kind: CredentialKind | UnsetType = UNSET
    resource: str | UnsetType = UNSET
    secret: From | UnsetType = UNSET
    weight: int | UnsetType = UNSET
    test: bool | UnsetType = UNSET
    exclusive: Name | None | UnsetType = UNSET
    """Name of a project."""
    rotate_every_days: int | None | UnsetType = UNSET
    rotate_hook: str | None | UnsetType = UNSET
    retiring: bool | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class Key(Part, frozen=True):
    """A gateway key."""

    name: Name
    project: Name = "default"
    environment: Environment | UnsetType = UNSET
    owner: str | None | UnsetType = UNSET
    user: str | None | UnsetType = UNSET
    """E-mail."""
    scopes: list[str] | UnsetType = UNSET
    models: list[str] | UnsetType = UNSET
    providers: list[str] | UnsetType = UNSET
    addresses: list[str] | UnsetType = UNSET
    role: str | None | UnsetType = UNSET
    expires_at: str | None | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    limits: list[Cap] | UnsetType = UNSET


class Document(Part, frozen=True):
    """The whole file. A section that is left out is not governed."""

    version: Literal[1] = 1
    projects: list[Project] | UnsetType = UNSET
    credentials: list[Credential] | UnsetType = UNSET
    keys: list[Key] | UnsetType = UNSET
    limits: list[CapOn] | UnsetType = UNSET


class Declared(Struct, frozen=True):
    """A file, read."""

    document: Document
    tree: Tree
    file: str

    def wrong(self, problems: list[tuple[str, str]]) -> ConfigError:
        """These problems, (`keys[3].limits[0]`, sentence), with their lines."""
        return ConfigError("\n".join(str(Problem(_where(self.tree, path), path, what)) for path, what in problems))


def read(text: str, file: str) -> Declared:
    """What a file says. Raises `ConfigError` with every problem that can be told at once."""
    try:
        tree, problems = yamltree.parse(text, lambda line: f"{file}:{line}", limit=MAX_BYTES)
    except Unreadable as error:
        raise ConfigError(str(error)) from error
    if problems:
        raise ConfigError("\n".join(map(str, problems)))
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{file}: must be a mapping of sections: {', '.join(Document.__struct_fields__)}")
    try:
        document = msgspec.convert(_plain(tree), Document)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        path = path.rstrip("`").lstrip(".")
        raise ConfigError(str(Problem(_where(tree, path), path, what))) from None
    declared = Declared(document, tree, file)
    wrong = list(_problems(document))
    if wrong:
        raise declared.wrong(wrong)
    return declared


def read_file(path: Path) -> Declared:
    """As `read`; `-` is stdin. Raises `ConfigError`."""
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES // 1024 // 1024} MiB")
    try:
        return read(data.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8") from error


def _problems(document: Document) -> Iterator[tuple[str, str]]:
    """What single fields cannot say."""
    for path, cap in _caps(document):
        try:
            cap.terms()
        except ValueError as error:
            yield path, str(error)
    for index, credential in enumerate(document.credentials or ()):
        place = credential.secret
        if isinstance(place, From) and (place.env is None) == (place.file is None):
            yield f"credentials[{index}].secret", "names exactly one of env, file"
    yield from _twice("projects", [each.name.casefold() for each in document.projects or ()])
    yield from _twice("credentials", [each.name.casefold() for each in document.credentials or ()])
    yield from _twice("keys", [f"{each.name} of project {each.project.casefold()}" for each in document.keys or ()])
    for index, project in enumerate(document.projects or ()):
        uses = [f"{each.provider} by {each.credential.casefold()}" for each in project.providers or ()]
        yield from _twice(f"projects[{index}].providers", uses)


def _caps(document: Document) -> Iterator[tuple[str, Cap]]:
    for section in ("projects", "keys"):
        for index, each in enumerate(getattr(document, section) or ()):
            for inner, cap in enumerate(each.limits or ()):
                yield f"{section}[{index}].limits[{inner}]", cap
    for index, cap in enumerate(document.limits or ()):
        yield f"limits[{index}]", cap


def _twice(section: str, names: list[str]) -> Iterator[tuple[str, str]]:
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        first = seen.setdefault(name, index)
        if first != index:
            yield f"{section}[{index}]", f"{name} is here twice; the first is {section}[{first}]"


def _plain(tree: Tree) -> Any:
    if isinstance(tree, Scalar):
        return tree.value
    if isinstance(tree, Items):
        return [_plain(each) for each in tree.items]
    return {name: _plain(each) for name, each in tree.entries.items()}


def _where(tree: Tree, path: str) -> str:
    """The place in the file of what a path leads to, or of the closest thing around it."""
    where = tree.where
    for step in _STEP.finditer(f".{path}"):
        name, index = step.groups()
        if name is not None and isinstance(tree, Mapping) and name in tree.entries:
            tree = tree.entries[name]
        elif index is not None and isinstance(tree, Items) and int(index) < len(tree.items):
            tree = tree.items[int(index)]
        else:
            break
        where = tree.where
    return where
