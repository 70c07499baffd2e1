"""Translates an OngoingAI gateway's `ongoingai.yaml` into a `gatehouse.yaml`.

Every key of the file is either translated or listed with the reason why not, in the output's comments and in
`Imported.notes`. The output always passes `check`. Where a translation would expose something (a listener open to the
network without keys, bodies stored without redaction), the strict side is taken and the note says so.
Secrets of the file (tokens, DSNs, salts) are never repeated.

Key names and meanings: the OngoingAI gateway's configuration reference, its versions from 2026.
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from gatehouse.config import yamltree
from gatehouse.config.check import check, is_loopback
from gatehouse.config.printable import clean
from gatehouse.config.settings import Settings
from gatehouse.config.yamltree import Items, Scalar, Tree, Unreadable
from gatehouse.errors import ConfigError

_UPSTREAMS: Final = {"openai": "https://api.openai.com", "anthropic": "https://api.anthropic.com"}
"""Defaults of both systems: nothing to write down."""

_DIALECTS: Final = {"api.anthropic.com": "anthropic", "generativelanguage.googleapis.com": "google"}

_REASONS: Final = (
    ("storage.dsn", "holds a password, and is not repeated here: set database.url to a database of its own"),
    ("storage.path", "calls are kept under the data directory (--data); the old database is not read"),
    ("tracing.retention.cleanup", "the store deletes what is too old all the time, in small pieces"),
    ("observability.otel.prometheus", "metrics are always there, at /metrics"),
    ("observability", "OpenTelemetry export is not available yet"),
    ("pii", "detection and redaction are not available yet: what they held back will pass"),
    ("auth", "accounts are not in the configuration: run `gatehouse init`, then make keys with `gatehouse key create`"),
    ("limits", "limits are not in the configuration: after `gatehouse init`, `gatehouse limit create`"),
    ("backup", "backups to object storage are not available yet; copy the data directory's journal instead"),
    ("dashboard", "the console is not available yet"),
)
"""Key prefix → why it stays behind. The first match counts."""

_YES: Final = frozenset({"true", "yes", "y", "on"})
_NO: Final = frozenset({"false", "no", "n", "off"})


class Note(NamedTuple):
    """One key of theirs that was not carried over as it is."""

    key: str
    why: str

    def __str__(self) -> str:
        return f"{self.key}: {self.why}"


class Imported(NamedTuple):
    """The translation."""

    text: str
    """A `gatehouse.yaml` with the notes as comments."""
    notes: tuple[Note, ...]


def translate(text: str, name: str) -> Imported:
    """Translate the text of an `ongoingai.yaml`; `name` stands in messages. Raises `ConfigError` if unreadable."""
    try:
        tree, problems = yamltree.parse(text, lambda line: f"{name}:{line}")
    except Unreadable as error:
        raise ConfigError(str(error)) from error
    if problems:
        raise ConfigError("\n".join(map(str, problems)))
    if tree is None or not isinstance(tree, yamltree.Mapping):
        raise ConfigError(f"{name}: holds no mapping of sections, such as `server:`")
    translation = _Translation(_leaves(tree, ""))
    translation.run()
    return Imported(_written(translation.ours, translation.notes, name), tuple(translation.notes))


def _leaves(tree: Tree, path: str) -> dict[str, Tree]:
    """Every value by its key path; lists of plain values, and empty mappings and lists, are one value."""
    match tree:
        case yamltree.Mapping(entries=entries) if entries:
            inner = [(f"{path}.{key}" if path else key, value) for key, value in entries.items()]
        case Items(items=items) if any(isinstance(item, yamltree.Mapping) for item in items):
            inner = [(f"{path}[{index}]", value) for index, value in enumerate(items)]
        case _:
            return {path: tree} if path else {}
    return {leaf: value for key, child in inner for leaf, value in _leaves(child, key).items()}


class _Translation:
    """One run: `theirs` shrinks as keys are dealt with; `ours` and `notes` grow."""

    def __init__(self, theirs: dict[str, Tree]) -> None:
        self.theirs = theirs
        self.notes: list[Note] = []
        self.ours: dict[str, dict[str, object]] = {}
        self._from: dict[str, str] = {}

    def run(self) -> None:
        self._server()
        self._storage()
        self._providers()
        self._tracing()
        for switch in ("pii.mode", "auth.enabled"):
            self._leave_out_what_is_off(switch)
        for key, value in self.theirs.items():
            self._note(key, _reason(key, value))
        self._drop_refused()

    def _leave_out_what_is_off(self, switch: str) -> None:
        """A section that was switched off is not missed."""
        state = self.theirs.get(switch)
        if isinstance(state, Scalar) and state.written.lower() in _NO:
            section = switch.partition(".")[0] + "."
            self.theirs = {key: value for key, value in self.theirs.items() if not key.startswith(section)}

    def _set(self, source: str, section: str, key: str, value: object) -> None:
        self.ours.setdefault(section, {})[key] = value
        self._from[f"{section}.{key}"] = source

    def _note(self, key: str, why: str) -> None:
        self.notes.append(Note(clean(key), clean(why)))

    def _take(self, key: str) -> Scalar | None:
        """A plain value that is not empty; what is no plain value stays and is noted as unknown."""
        value = self.theirs.get(key)
        if not isinstance(value, Scalar) or value.value in (None, ""):
            return None
        return self.theirs.pop(key)  # type: ignore[return-value]

    def _number(self, key: str) -> int | None:
        taken = self._take(key)
        if taken is None:
            return None
        try:
            return int(taken.written)
        except ValueError:
            self._note(key, "is no whole number")
            return None

    def _flag(self, key: str) -> bool | None:
        taken = self._take(key)
        if taken is None:
            return None
        word = taken.written.lower()
        if word not in _YES | _NO:
            self._note(key, "is neither true nor false")
            return None
        return word in _YES

    def _server(self) -> None:
        port = self._number("server.port")
        if port is not None:
            self._set("server.port", "server", "port", port)
        host = self._take("server.host")
        if host is None:
            self._note("server.host", "is not set; OngoingAI then listens on all addresses, Gatehouse on 127.0.0.1")
            return
        if is_loopback(host.written):
            self._set("server.host", "server", "host", host.written)
        else:
            self._note(
                "server.host",
                "can be reached from other machines, and nothing here asks for keys; left at 127.0.0.1. "
                "Set server.host and server.insecure: true if everyone who reaches it may use it",
            )

    def _storage(self) -> None:
        driver = self._take("storage.driver")
        if driver is not None and driver.written != "sqlite":
            self._note(
                "storage.driver",
                "set database.url, postgresql://…, to keep calls there; else they are under the data directory",
            )

    def _tracing(self) -> None:
        mode = self.theirs.get("pii.mode")
        redacted = not (isinstance(mode, Scalar) and mode.written == "off")
        bodies = self._flag("tracing.capture_bodies")
        if bodies and redacted:
            self._note(
                "tracing.capture_bodies",
                "bodies were redacted before they were stored, and redaction is not available yet; left off. "
                "Set capture.bodies: true to keep bodies as they are",
            )
        elif bodies is not None:
            self._set("tracing.capture_bodies", "capture", "bodies", bodies)
        size = self._number("tracing.body_max_size")
        if size is not None and size > 0:
            self._set("tracing.body_max_size", "capture", "max_bytes", size)
        elif size is not None:
            self._note("tracing.body_max_size", "is not positive; Gatehouse's own cap of 1 MiB holds")
        self._retention()

    def _retention(self) -> None:
        enabled = self._flag("tracing.retention.cleanup_enabled")
        days = self._number("tracing.retention.days")
        if days is not None and enabled:
            self._set("tracing.retention.days", "database", "keep_days", days)
        elif days is not None or enabled is not None:
            self._note(
                "tracing.retention",
                "nothing was deleted by itself; Gatehouse's store keeps calls for database.keep_days (30), "
                "its journal for journal.keep_days (183)",
            )

    def _providers(self) -> None:
        names = {key.split(".")[1]: None for key in self.theirs if key.startswith("providers.")}
        for theirs in names:
            upstream = self._take(f"providers.{theirs}.upstream")
            prefix = self._take(f"providers.{theirs}.prefix")
            name = theirs.lower().replace("_", "-")
            if f"providers.{name}" in self._from:
                self._note(f"providers.{theirs}", f"becomes `{name}`, which another provider is called already")
                continue
            if name != theirs:
                self._note(f"providers.{theirs}", f"is called `{name}`: names are made of a–z, 0–9 and `-`")
            if upstream is None and name not in _UPSTREAMS:
                self._note(f"providers.{theirs}", "has no upstream; left out")
                continue
            entry = self._provider(theirs, name, upstream, prefix)
            if entry or name not in _UPSTREAMS:
                self._set(f"providers.{theirs}", "providers", name, entry)
            for ours, source in (("base_url", "upstream"), ("prefix", "prefix")):
                self._from[f"providers.{name}.{ours}"] = f"providers.{theirs}.{source}"

    def _provider(self, theirs: str, name: str, upstream: Scalar | None, prefix: Scalar | None) -> dict[str, object]:
        entry: dict[str, object] = {}
        url = upstream.written.rstrip("/") if upstream else ""
        if url.endswith("/v1"):
            url = url.removesuffix("/v1")
            self._note(
                f"providers.{theirs}.upstream", "loses its trailing /v1: callers add it, …/v1 ends their base URL"
            )
        if url and url != _UPSTREAMS.get(name):
            entry["base_url"] = url
            dialect = _DIALECTS.get(_host(url))
            if dialect is not None:
                entry["dialect"] = dialect
        path = prefix.written.rstrip("/") if prefix else ""
        if path and path != f"/{name}":
            entry["prefix"] = path
        elif prefix and not path:
            self._note(f"providers.{theirs}.prefix", f"is the whole host; left at /{name}")
        elif not prefix and name != theirs:
            entry["prefix"] = f"/{theirs}"
        return entry

    def _drop_refused(self) -> None:
        """Take out what our own rules refuse, naming their key, until nothing is refused."""
        while refused := _refused(self.ours):
            for key, what in refused:
                self._note(self._from.get(key, key), f"left out: {what}")
                section, _, rest = key.partition(".")
                name, _, field = rest.partition(".")
                self._leave_out(section, name, field)

    def _leave_out(self, section: str, name: str, field: str) -> None:
        holder = self.ours[section]
        entry = holder.get(name)
        if not isinstance(entry, dict):
            holder.pop(name, None)
        elif field == "prefix":
            entry.pop(field, None)
        elif name in _UPSTREAMS and entry.get("enabled") is not False:
            # Its calls, and their keys, must not go to the default upstream instead.
            holder[name] = {"enabled": False, **{key: entry[key] for key in ("prefix",) if key in entry}}
            self._note(f"providers.{name}", "is turned off")
        else:
            holder.pop(name)
            self._note(f"providers.{name}", "is left out as a whole")


def _refused(ours: dict[str, dict[str, object]]) -> list[tuple[str, str]]:
    """Our key paths with what is wrong: values that alone are refused (a port of 99999), else what `check` finds."""
    found = []
    for section, keys in ours.items():
        for key, value in keys.items():
            try:
                msgspec.convert({section: {key: value}}, Settings, strict=True)
            except msgspec.ValidationError as error:
                found.append((f"{section}.{key}", str(error).partition(" - at")[0]))
    return found or check(msgspec.convert(ours, Settings, strict=True))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _reason(key: str, value: Tree) -> str:
    if isinstance(value, Scalar) and value.value in (None, ""):
        return "is empty: nothing to translate"
    return next((why for prefix, why in _REASONS if key.startswith(prefix)), "is no key that OngoingAI documents")


def _written(ours: dict[str, dict[str, object]], notes: list[Note], name: str) -> str:
    lines = [f"# Translated from {clean(name)} by `gatehouse config import`.", ""]
    for section, keys in ours.items():
        if keys:
            lines += [f"{section}:", *_mapping(keys, "  ")]
    if not any(ours.values()):
        lines.append("{}")
    if notes:
        lines += ["", "# Not carried over as it was:"]
        lines += [f"#   {note}" for note in notes]
    return "\n".join(lines) + "\n"


def _mapping(keys: dict[str, object], indent: str) -> list[str]:
    """JSON's scalars and strings are YAML's, so nothing needs quoting rules of its own."""
    lines: list[str] = []
    for key, value in keys.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{json.dumps(key)}:" if not key.isidentifier() else f"{indent}{key}:"]
            lines += _mapping(value, indent + "  ")
        else:
            lines.append(f"{indent}{key if key.isidentifier() else json.dumps(key)}: {json.dumps(value)}")
    return lines
