"""What has to be done so that the gateway is as a file says: a list of steps. Pure.

Rules
- Names are identity: of projects and credentials in any case, of a key with its project, of a limit what it is on, its
  measure and its window. What is as the file says needs no step: the second `apply` does nothing.
- Nothing is taken away without `prune`, and with it only in sections and lists that the file has. The project `default`
  always stays.
- What cannot be is a problem, found before the first step: an unknown name, another provider for a credential.
- Steps refer to things by `Ref` where their ids may not be known yet. Steps of one phase do not depend on each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from msgspec import UNSET, UnsetType

from gatehouse.cli import declared
from gatehouse.cli.declared import Cap, Document, From
from gatehouse.cli.limit import IDENTITY, scope_kind
from gatehouse.cli.moments import utc
from gatehouse.cli.planned_limits import LimitSteps
from gatehouse.cli.steps import (
    CREDENTIALS,
    CREDENTIALS_GONE,
    KEYS,
    KEYS_GONE,
    PROJECTS,
    PROJECTS_GONE,
    USES,
    USES_GONE,
    Item,
    Plan,
    Ref,
    State,
    Step,
)
from gatehouse.store import times

DEFAULT: Final = "default"

_PROJECT: Final = ("type", "environment", "team", "own_keys", "disabled")
_CREDENTIAL: Final = ("weight", "test", "exclusive", "rotate_every_days", "rotate_hook", "retiring", "disabled")
_KEY: Final = ("owner", "user", "scopes", "models", "providers", "addresses", "role", "expires_at", "disabled")
_ONLY_LATER: Final = frozenset(("retiring", "disabled"))
"""What a thing that is made cannot be from the start."""


def plan(document: Document, state: State, *, prune: bool) -> Plan:
    """What to do."""
    found = _Planning(document, state, prune)
    found.projects()
    found.credentials()
    found.keys()
    found.limits()
    # Sorting is stable: within a phase it stays as in the file.
    return Plan(sorted([*found.steps, *found.limit_steps], key=lambda step: step.phase), found.problems)


class _Planning:
    def __init__(self, document: Document, state: State, prune: bool) -> None:
        self._document = document
        self._state = state
        self._prune = prune
        self.steps: list[Step] = []
        self.problems: list[tuple[str, str]] = []
        self._projects = {each["name"].casefold(): each for each in state.projects}
        self._credentials = {each["name"].casefold(): each for each in state.credentials}
        self._names = {each["id"]: each["name"] for each in (*state.projects, *state.credentials)}
        self._users = {email.casefold(): name for name, email in state.users.items()}
        self._limits = LimitSteps(state, prune=prune)
        self._new = {
            "project": {each.name.casefold(): each.name for each in document.projects or ()},
            "credential": {each.name.casefold(): each.name for each in document.credentials or ()},
        }

    @property
    def limit_steps(self) -> list[Step]:
        return self._limits.steps

    # -- projects

    def projects(self) -> None:
        wanted = self._document.projects
        for index, each in enumerate(wanted or ()):
            path, now = f"projects[{index}]", self._projects.get(each.name.casefold())
            self._thing(PROJECTS, Ref("project", each.name.casefold()), each.name, now, _given(each, _PROJECT))
            for inner, use in enumerate(each.providers or ()):
                self._use(f"{path}.providers[{inner}]", each, use, now)
            if self._prune and now is not None and not isinstance(each.providers, UnsetType):
                kept = {(use.provider, use.credential.casefold()) for use in each.providers}
                self._unused(now, kept)
            on = Ref("project", each.name.casefold())
            known = None if now is None else str(now["id"])
            self._limits.on("project", on, f"project {each.name}", each.limits, known)
        if self._prune and not isinstance(wanted, UnsetType):
            self._projects_gone({each.name.casefold() for each in wanted} | {DEFAULT})

    def _use(self, path: str, project: declared.Project, use: declared.Use, now: Item | None) -> None:
        if not self._known("credential", f"{path}.credential", use.credential):
            return
        of = self._provider(use.credential)
        if of is not None and of != use.provider:
            self.problems.append((f"{path}.provider", f"credential {use.credential} is for {of}"))
            return
        bound, name = self._bound(now, use), f"project {project.name} uses {use.provider} by {use.credential}"
        weight = None if isinstance(use.weight, UnsetType) else use.weight
        if bound is not None and weight in (None, bound["weight"]):
            return
        heavy = "" if weight is None else f" (weight {weight})"
        self.steps.append(
            Step(
                USES,
                f"{'+' if bound is None else '~'} {name}{heavy}",
                "PUT",
                (
                    "/api/v1/projects/",
                    Ref("project", project.name.casefold()),
                    f"/providers/{quote(use.provider, safe='')}/",
                    Ref("credential", use.credential.casefold()),
                ),
                {"weight": weight},
            )
        )

    def _bound(self, now: Item | None, use: declared.Use) -> Item | None:
        credential = self._credentials.get(use.credential.casefold())
        if now is None or credential is None:
            return None
        for each in now["bindings"]:
            if (each["provider"], each["credential"]) == (use.provider, credential["id"]):
                found: Item = each
                return found
        return None

    def _unused(self, now: Item, kept: set[tuple[str, str]]) -> None:
        for each in now["bindings"]:
            name = self._names.get(each["credential"], each["credential"])
            if (each["provider"], name.casefold()) not in kept:
                place = f"/api/v1/projects/{now['id']}/providers/{each['provider']}/{each['credential']}"
                says = f"- project {now['name']} uses {each['provider']} by {name}"
                self.steps.append(Step(USES_GONE, says, "DELETE", (place,)))

    def _projects_gone(self, kept: set[str]) -> None:
        remaining = {each["project"] for each in (*self._state.keys, *self._state.rotated)}
        if not isinstance(self._document.keys, UnsetType):
            unnamed = {each["project"] for each in self._state.keys if each["name"] is None}
            remaining = unnamed | {self._project_id(each.project) or "" for each in self._document.keys}
        for name, each in self._projects.items():
            if name in kept:
                continue
            if each["id"] in remaining:
                what = f"project {each['name']} is not in the file and has keys: revoke them first"
                self.problems.append(("projects", what))
                continue
            for bound in each["bindings"]:
                place = f"/api/v1/projects/{each['id']}/providers/{bound['provider']}/{bound['credential']}"
                credential = self._names.get(bound["credential"], bound["credential"])
                says = f"- project {each['name']} uses {bound['provider']} by {credential}"
                self.steps.append(Step(USES_GONE, says, "DELETE", (place,)))
            path = (f"/api/v1/projects/{each['id']}",)
            self.steps.append(Step(PROJECTS_GONE, f"- project {each['name']}", "DELETE", path))

    # -- credentials

    def credentials(self) -> None:
        wanted = self._document.credentials
        for index, each in enumerate(wanted or ()):
            self._credential(f"credentials[{index}]", each)
        if self._prune and not isinstance(wanted, UnsetType):
            kept = {each.name.casefold() for each in wanted}
            for name, now in self._credentials.items():
                if name not in kept:
                    path = (f"/api/v1/credentials/{now['id']}",)
                    self.steps.append(Step(CREDENTIALS_GONE, f"- credential {now['name']}", "DELETE", path))

    def _credential(self, path: str, each: declared.Credential) -> None:
        now = self._credentials.get(each.name.casefold())
        given = _given(each, _CREDENTIAL)
        if given.get("exclusive") is not None:
            if not self._known("project", f"{path}.exclusive", given["exclusive"]):
                return
            given["exclusive"] = Ref("project", given["exclusive"].casefold())
        kind = "api_key" if isinstance(each.kind, UnsetType) else each.kind
        if now is None:
            if isinstance(each.secret, UnsetType):
                self.problems.append((path, f"credential {each.name} is new: say by `secret` where its secret is"))
                return
            resource = None if isinstance(each.resource, UnsetType) else each.resource
            first = {"provider": each.provider, "kind": kind, "resource": resource}
            self._thing(
                CREDENTIALS, Ref("credential", each.name.casefold()), each.name, None, given, first, each.secret
            )
            return
        wrong = [("provider", each.provider, now["provider"])]
        if not isinstance(each.kind, UnsetType):
            wrong.append(("kind", each.kind, now["kind"]))
        for field, wish, fact in wrong:
            if wish != fact:
                what = f"credential {each.name} is of {field} {fact}, which never changes: choose another name"
                self.problems.append((f"{path}.{field}", what))
                return
        shown = {**now, "retiring": now["retiring_at"] is not None}
        shown["exclusive"] = self._ref_of("project", now["exclusive"])
        self._thing(CREDENTIALS, Ref("credential", each.name.casefold()), each.name, shown, given)

    # -- keys

    def keys(self) -> None:
        wanted = self._document.keys
        known: dict[tuple[str, str], list[Item]] = {}
        for each in self._state.keys:
            if each["name"] is not None:
                known.setdefault((each["project"], each["name"]), []).append(each)
        kept = set()
        for index, key in enumerate(wanted or ()):
            project = self._project_id(key.project)
            now = known.get((project or "", key.name), [])
            kept |= {each["id"] for each in now}
            if len(now) > 1:
                self.problems.append((f"keys[{index}]", _twins(key.name, key.project, len(now))))
            else:
                self._key(f"keys[{index}]", key, now[0] if now else None)
        if self._prune and not isinstance(wanted, UnsetType):
            for (_, name), twins in known.items():
                if len(twins) > 1 and twins[0]["id"] not in kept:
                    self.problems.append(("keys", _twins(name, self._names[twins[0]["project"]], len(twins))))
            self._keys_gone(kept)

    def _keys_gone(self, kept: set[str]) -> None:
        """All but these, what they were rotated from, and what has no name to be in a file by."""
        counted = {each["counts_as"] for each in self._state.keys if each["id"] in kept}
        for each in (*self._state.keys, *self._state.rotated):
            if each["name"] is not None and each["counts_as"] not in counted:
                name = f"{self._names.get(each['project'], each['project'])}/{each['name']}"
                self.steps.append(Step(KEYS_GONE, f"- key {name}", "DELETE", (f"/api/v1/keys/{each['id']}",)))

    def _key(self, path: str, each: declared.Key, now: Item | None) -> None:
        if not self._known("project", f"{path}.project", each.project):
            return
        given = _given(each, _KEY)
        if given.get("user") is not None:
            email = given["user"]
            given["user"] = self._users.get(email.casefold())
            if given["user"] is None:
                self.problems.append((f"{path}.user", f"there is no user {email}"))
                return
        if given.get("expires_at") is not None:
            try:
                given["expires_at"] = _rfc3339(given["expires_at"])
            except ValueError:
                self.problems.append((f"{path}.expires_at", "is no date (2027-01-31) and no RFC 3339 time"))
                return
        name, ref = f"{each.project}/{each.name}", Ref("key", f"{each.project.casefold()}/{each.name}")
        environment = each.environment
        if now is None:
            first: dict[str, Any] = {"project": Ref("project", each.project.casefold())}
            if not isinstance(environment, UnsetType):
                first["environment"] = environment
            if not isinstance(each.limits, UnsetType):
                first["limits"] = [cap.terms() for cap in each.limits]
            self._thing(KEYS, ref, name, None, given, first)
            return
        if not isinstance(environment, UnsetType) and environment != now["environment"]:
            what = f"key {name} is a {now['environment']} key, which never changes: choose another name"
            self.problems.append((f"{path}.environment", what))
            return
        self._thing(KEYS, ref, name, {**now, "disabled": now["disabled_at"] is not None}, given)
        self._limits.on("key", now["counts_as"], f"key {name}", each.limits, now["counts_as"])

    # -- limits

    def limits(self) -> None:
        wanted = self._document.limits
        by_thing: dict[str, list[Cap]] = {}
        for index, cap in enumerate(wanted or ()):
            if self._limitable(f"limits[{index}].on", cap.on):
                by_thing.setdefault(cap.on, []).append(cap)
        governed = set()
        for on, limits in by_thing.items():
            scope, _, name = on.partition(" ")
            ref, known = self._on(scope, name)
            kind = scope_kind(scope) or scope
            governed.add((kind, known))
            self._limits.on(kind, ref, on, limits, known)
        if self._prune and not isinstance(wanted, UnsetType):
            for (scope, known), limits_now in self._limits.there.items():
                if scope in declared.TOP and (scope, known) not in governed:
                    label = self._names.get(known) or self._state.users.get(known) or known
                    self._limits.gone(scope if scope == "tenant" else f"{scope} {label}", limits_now)

    def _limitable(self, path: str, on: str) -> bool:
        scope, _, name = on.partition(" ")
        if scope == "credential":
            return self._known("credential", path, name)
        if scope == "user" and name.casefold() not in self._users:
            self.problems.append((path, f"there is no user {name}"))
            return False
        return True

    def _on(self, scope: str, name: str) -> tuple[Ref | str | None, str | None]:
        """What a limit is on: for its body, and the id if it is there already."""
        if scope == "tenant":
            return None, next((known for kind, known in self._limits.there if kind == "tenant"), None)
        if scope == "user":
            return self._users[name.casefold()], self._users[name.casefold()]
        if scope in ("model", IDENTITY):
            return name, name
        now = self._credentials.get(name.casefold())
        return Ref("credential", name.casefold()), None if now is None else str(now["id"])

    # -- all of them

    def _thing(
        self,
        phase: int,
        ref: Ref,
        name: str,
        now: Item | None,
        given: Mapping[str, Any],
        first: Mapping[str, Any] | None = None,
        secret: From | None = None,
    ) -> None:
        """Make it or change it. `first`: what only a new one is told."""
        kind, list_path = ref.kind, f"/api/v1/{ref.kind}s"
        if now is not None:
            changed = {field: value for field, value in given.items() if value != now[field]}
            if changed:
                told = ", ".join(f"{field} {_said(now[field])} → {_said(value)}" for field, value in changed.items())
                self.steps.append(Step(phase, f"~ {kind} {name}: {told}", "PATCH", (f"{list_path}/", ref), changed))
            return
        own_name = name.partition("/")[2] if kind == "key" else name
        body = {"name": own_name, **(first or {}), **{f: v for f, v in given.items() if f not in _ONLY_LATER}}
        kind_of_secret = str(body.get("kind", "api_key"))
        self.steps.append(Step(phase, f"+ {kind} {name}", "POST", (list_path,), body, ref, secret, kind_of_secret))
        later = {field: True for field in _ONLY_LATER if given.get(field) is True}
        if later:
            says = f"~ {kind} {name}: {', '.join(sorted(later))}"
            # In the next phase: it has to be there first.
            self.steps.append(Step(phase + 1, says, "PATCH", (f"{list_path}/", ref), later))

    def _known(self, kind: str, path: str, name: str) -> bool:
        there = self._projects if kind == "project" else self._credentials
        if name.casefold() in self._new[kind] or (kind == "project" and name.casefold() == DEFAULT):
            return True
        if name.casefold() in there:
            section = self._document.projects if kind == "project" else self._document.credentials
            if not self._prune or isinstance(section, UnsetType):
                return True
            self.problems.append((path, f"{kind} {name} is not in the file, and would be deleted"))
            return False
        self.problems.append((path, f"there is no {kind} {name}, here or in the file"))
        return False

    def _provider(self, credential: str) -> str | None:
        name = credential.casefold()
        for each in self._document.credentials or ():
            if each.name.casefold() == name:
                return each.provider
        now = self._credentials.get(name)
        return None if now is None else str(now["provider"])

    def _project_id(self, name: str) -> str | None:
        now = self._projects.get(name.casefold())
        return None if now is None else str(now["id"])

    def _ref_of(self, kind: str, known: str | None) -> Ref | None:
        return None if known is None else Ref(kind, self._names.get(known, known).casefold())


def _twins(name: str, project: str, count: int) -> str:
    return f"{count} keys of project {project} are called {name}: rename or revoke all but one"


def _given(part: declared.Part, fields: Iterable[str]) -> dict[str, Any]:
    return {name: value for name in fields if (value := getattr(part, name)) is not UNSET}


def _said(value: Any) -> str:
    if isinstance(value, Ref):
        return value.name
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)


def _rfc3339(text: str) -> str:
    """As the API writes times. Raises `ValueError`."""
    return times.rfc3339(times.of(utc(text)))
