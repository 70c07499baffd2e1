"""Reading the configuration: file, environment, flags; the later wins; all problems at once, each with its place.

Pure of globals: what is read is what is passed in. A wrong configuration raises `ConfigError` whose text has one line
per problem, `file:line: key.path: what is wrong, what is allowed` (the variable's or the flag's name in place of
file and line where the value came from there). Values of text keys are never repeated: they may be secrets.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from gatehouse.config import environment, schema, yamltree
from gatehouse.config.check import check
from gatehouse.config.fields import Section
from gatehouse.config.settings import Settings
from gatehouse.config.yamltree import Items, Problem, Scalar, Tree, Unreadable
from gatehouse.errors import ConfigError

FILE_NAME: Final = "gatehouse.yaml"


class Flag(NamedTuple):
    """A command-line flag that sets a key: `Flag("--port", ("server", "port"), 8080)`."""

    name: str
    path: tuple[str, ...]
    value: bool | int | str


class Effective(NamedTuple):
    """Settings, and where each value that is not a default came from."""

    settings: Settings
    origins: Mapping[str, str]
    """Key path → `gatehouse.yaml:3`, `GATEHOUSE_SERVER__PORT` or `--port`. Sections have an entry too."""
    file: Path | None


def find(named: Path | None, environ: Mapping[str, str], folders: Sequence[Path]) -> Path | None:
    """The file to read: the one named, the one `GATEHOUSE_CONFIG` names, else the first `gatehouse.yaml` in `folders`.

    A named file must exist (reading it says so); the others need not.
    """
    if named is not None:
        return named
    if environ.get("GATEHOUSE_CONFIG"):
        return Path(environ["GATEHOUSE_CONFIG"])
    return next((path for folder in folders if (path := folder / FILE_NAME).exists()), None)


def resolve(
    path: Path | None, environ: Mapping[str, str], flags: Sequence[Flag], *, accounts: bool = False
) -> Effective:
    """The settings of a file (`None`: none), an environment and flags, with the origin of each value.

    `accounts`: the data directory has an owner, so that `auth.enabled` is true where nothing else is said. Raises
    `ConfigError`.
    """
    tree, problems = _file(path)
    problems += environment.overlay(tree, environ)
    for flag in flags:
        environment.put(tree, flag.path, Scalar(flag.value, str(flag.value), flag.name))
    reader = _Reader(problems)
    plain = reader.section(tree, Settings, "")
    if plain.get("profile") == "compliance":
        _comply(plain)
    if accounts:
        _default(plain, "auth", "enabled", True)
    settings = msgspec.convert(plain, Settings, strict=True)
    # What could not be read stands at its default here, so sections with a problem are not judged as a whole.
    spoilt = {_parent(problem.key) for problem in problems}
    problems += [
        Problem(_origin(reader.origins, key), key, what) for key, what in check(settings) if _parent(key) not in spoilt
    ]
    if problems:
        raise _error(problems)
    return Effective(settings, reader.origins, path)


def placed(effective: Effective, problem: str) -> str:
    """A problem found later (`key.path: what is wrong`), with the place where that key was set in front."""
    where = _origin(effective.origins, problem.partition(": ")[0])
    return f"{where}: {problem}" if where else problem


def read_text(path: Path) -> str:
    """A configuration file's text. Raises `ConfigError`: missing, unreadable, too large, not UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(yamltree.MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > yamltree.MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {yamltree.MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8") from error


def _comply(plain: dict[str, object]) -> None:
    """What `profile: compliance` sets where nothing else does; `check` refuses what contradicts it."""
    _default(plain, "journal", "durability", "disk")
    _default(plain, "journal", "when_full", "refuse")


def _default(plain: dict[str, object], section: str, key: str, value: object) -> None:
    found = plain.setdefault(section, {})
    if isinstance(found, dict):
        found.setdefault(key, value)


def _error(problems: Sequence[Problem]) -> ConfigError:
    return ConfigError("\n".join(map(str, problems)))


def _origin(origins: Mapping[str, str], key: str) -> str:
    """Where a key was set, or the closest section around it; empty if all of it is defaults."""
    while key:
        if key in origins:
            return origins[key]
        key = _parent(key)
    return ""


def _parent(key: str) -> str:
    return key[: max(key.rfind("."), key.rfind("["), 0)]


def _file(path: Path | None) -> tuple[yamltree.Mapping, list[Problem]]:
    if path is None:
        return yamltree.Mapping({}, ""), []
    name = str(path)
    text = read_text(path)
    try:
        tree, problems = yamltree.parse(text, lambda line: f"{name}:{line}")
    except Unreadable as error:
        raise _error([error.problem]) from error
    if tree is None or (isinstance(tree, Scalar) and tree.value is None):
        return yamltree.Mapping({}, name), problems
    if not isinstance(tree, yamltree.Mapping):
        raise _error([Problem(tree.where, "", "must be a mapping of sections, such as `server:`")])
    return tree, problems


class _Reader:
    """Turns a tree into what `Settings` is converted from, collecting problems and origins on the way.

    What is wrong is reported and left out.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.origins: dict[str, str] = {}

    def section(self, tree: Tree, section: type[Section], path: str) -> dict[str, object]:
        self.origins[path] = tree.where
        entries = self._entries(tree, path)
        known = schema.fields(section)
        plain: dict[str, object] = {}
        for name, inner in entries.items():
            key = f"{path}.{name}" if path else name
            if name in known:
                value = self._any(inner, known[name], key)
                if value is not msgspec.UNSET:
                    plain[name] = value
            else:
                self.problems.append(Problem(inner.where, key, "is no known key; " + _nearest(name, known, path)))
        for name, field in known.items():
            if field.required and name not in entries:
                self.problems.append(Problem(tree.where, path, f"needs `{name}`: {field.allowed}"))
        return plain

    def _any(self, tree: Tree, field: schema.Field, key: str) -> object:
        """The plain value of a key; `UNSET` if it is wrong."""
        section = field.section
        if section is None:
            return self._value(tree, field, key)
        if field.shape == "section":
            return self.section(tree, section, key)
        self.origins[key] = tree.where
        if field.shape == "names":
            entries = self._entries(tree, key)
            return {name: self.section(inner, section, f"{key}.{name}") for name, inner in entries.items()}
        if isinstance(tree, Items):
            items = [self.section(item, section, f"{key}[{index}]") for index, item in enumerate(tree.items)]
            needed = {name for name, inner in schema.fields(section).items() if inner.required}
            return items if all(needed <= item.keys() for item in items) else msgspec.UNSET
        if not (isinstance(tree, Scalar) and tree.value is None):
            self.problems.append(Problem(tree.where, key, f"is {_kind(tree)}; must be {field.allowed}"))
        return msgspec.UNSET

    def _entries(self, tree: Tree, key: str) -> dict[str, Tree]:
        if isinstance(tree, yamltree.Mapping):
            return tree.entries
        if not (isinstance(tree, Scalar) and tree.value is None):
            self.problems.append(Problem(tree.where, key, f"is {_kind(tree)}; must be a mapping of keys"))
        return {}

    def _value(self, tree: Tree, field: schema.Field, key: str) -> object:
        self.origins[key] = tree.where
        plain = _plain(tree, as_written=field.text or field.many)
        try:
            msgspec.convert(plain, field.annotation, strict=True)
        except msgspec.ValidationError:
            self.problems.append(Problem(tree.where, key, _wrong(tree, field)))
            return msgspec.UNSET
        return plain


def _plain(tree: Tree, *, as_written: bool) -> object:
    """The value; with `as_written`, a number stands for the text that was written (`2.50`, not 2.5)."""
    match tree:
        case Items():
            return [_plain(item, as_written=as_written) for item in tree.items]
        case yamltree.Mapping():
            return {name: _plain(inner, as_written=False) for name, inner in tree.entries.items()}
        case Scalar(value=value) if as_written and isinstance(value, int | float) and not isinstance(value, bool):
            return tree.written
        case _:
            return tree.value


def _wrong(tree: Tree, field: schema.Field) -> str:
    must = f"must be {field.allowed}"
    if isinstance(tree, Scalar) and tree.value is not None and not field.text and not field.many:
        written = tree.written if len(tree.written) <= 40 else tree.written[:40] + "…"
        close = difflib.get_close_matches(written, field.choices, n=1)
        quoted = "the quoted text " if isinstance(tree.value, str) and written.isdecimal() else ""
        return f"is {quoted}`{written}`; {must}" + (f"; did you mean {close[0]}?" if close else "")
    return f"is {_kind(tree)}; {must}"


def _kind(tree: Tree) -> str:
    match tree:
        case Items():
            return "a list"
        case yamltree.Mapping():
            return "a mapping"
        case Scalar(value=None):
            return "empty"
        case Scalar(value=bool()):
            return tree.written
        case Scalar(value=str()):
            return "text"
        case _:
            return f"the number {tree.written[:40]}"


def _nearest(name: str, known: Mapping[str, schema.Field], path: str) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    elsewhere = [schema.dotted(other) for other, _ in schema.walk(Settings) if other[-1] == name]
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    return ("here are " if path else "keys are ") + ", ".join(known)
