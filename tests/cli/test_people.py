"""`gatehouse user`, `tenant` and `token`, over a data directory where no `serve` runs, and by URL."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gatehouse.auth import passwords
from gatehouse.cli import init
from gatehouse.cli.options import set_up
from gatehouse.config.paths import DataDir
from gatehouse.control.founding import Owner
from tests.cli.conftest import Cli
from tests.cli.served import served

OWNER = "owner@example.com"
ADA = "ada@example.com"


@pytest.fixture(scope="module")
def hashed() -> str:
    return passwords.hash("correct horse battery")


@pytest.fixture
def founded(data: Path, hashed: str) -> None:
    """A data directory with an owner."""
    DataDir(data).create()
    init.founded(set_up({"HOME": str(data.parent)}, str(data), None), Owner(OWNER, hashed))


def _json(cli: Cli, *arguments: str) -> dict[str, Any]:
    done = cli(*arguments, "--format", "json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    assert found["v"] == 1
    return found


@pytest.mark.usefixtures("founded")
def test_people_come_and_go(cli: Cli) -> None:
    made = cli("user", "create", ADA, "--role", "developer", "--name", "Ada")
    assert made.code == 0, made.err
    [invitation] = re.findall(r"^default\.usr_\w+\.[\w-]{43}$", made.out, re.MULTILINE)
    assert "it is not shown again" in made.out
    assert invitation not in cli("user", "show", ADA).out
    shown = _json(cli, "user", "show", ADA)
    assert (shown["role"], shown["name"], shown["has_password"]) == ("developer", "Ada", False)
    assert _json(cli, "user", "update", ADA, "--role", "admin", "--name", "A")["role"] == "admin"
    again = _json(cli, "user", "invite", shown["id"])["invitation"]
    assert again != invitation
    assert cli("user", "disable", ADA).out == f"user {ADA} is disabled\n"
    assert _json(cli, "user", "show", ADA)["disabled"] is True
    assert _json(cli, "user", "update", ADA, "--enable")["disabled"] is False
    assert [each["email"] for each in _json(cli, "user", "list", "--role", "owner")["items"]] == [OWNER]
    assert cli("user", "erase", ADA, "--yes").code == 0
    assert cli("user", "show", ADA).code == 1
    last = cli("user", "disable", OWNER)
    assert (last.code, "only owner" in last.err) == (2, True)
    assert cli("user", "update", OWNER).code == 2
    wrong = cli("user", "create", "nobody", "--role", "viewer")
    assert (wrong.code, wrong.err) == (2, "Error: email: no e-mail address\n")


@pytest.mark.usefixtures("founded")
def test_a_token_is_made_offline_and_revoked(cli: Cli) -> None:
    """Of an existing user, 24 hours at most."""
    made = cli("token", "create", "--role", "viewer", "--ttl", "24h")
    assert made.code == 0, made.err
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", made.out)
    [token] = _json(cli, "token", "list")["items"]
    assert token["id"] in made.err and "traces:read" in token["scopes"]
    assert cli("token", "revoke", token["id"]).code == 0
    assert cli("token", "revoke", token["id"]).code == 1
    assert _json(cli, "token", "list")["items"][0]["revoked_at"] is not None
    for arguments, code, says in (
        (("--ttl", "25h"), 2, "a token lives for 1m to 24h"),
        (("--ttl", "0"), 2, "a token lives for 1m to 24h"),
        (("--ttl", "30"), 2, "no span"),
        (("--user", ADA), 1, "there is no user"),
    ):
        done = cli("token", "create", *arguments)
        assert (done.code, says in done.err) == (code, True), done.err
    cli("user", "create", ADA, "--role", "viewer")
    more = cli("token", "create", "--user", ADA, "--role", "admin")
    assert (more.code, "role" in more.err) == (2, True)


@pytest.mark.usefixtures("founded")
def test_tenants_are_the_operators(cli: Cli) -> None:
    made = _json(cli, "tenant", "create", "Acme", "--owner", "boss@acme.example")
    assert made["invitation"].startswith(made["tenant"]["id"])
    assert {each["name"] for each in _json(cli, "tenant", "list")["items"]} == {"default", "Acme"}
    inside = _json(cli, "user", "list", "--tenant", "acme")["items"]
    assert [each["email"] for each in inside] == ["boss@acme.example"]
    assert [each["email"] for each in _json(cli, "user", "list")["items"]] == [OWNER]
    assert _json(cli, "tenant", "update", "ACME", "--name", "Acme Ltd")["name"] == "Acme Ltd"
    assert cli("tenant", "disable", "Acme Ltd").code == 0
    assert _json(cli, "tenant", "update", "acme ltd", "--enable")["disabled"] is False
    assert cli("tenant", "disable", "nobody").code == 1


def test_by_url_with_a_token(cli: Cli, tmp_path: Path) -> None:
    with served(tmp_path) as (url, _):
        file = tmp_path / "token"
        file.write_text("not.a.token")
        refused = cli("user", "list", "--url", url, "--token-file", str(file))
        assert (refused.code, "platform token" in refused.err) == (1, True)
        nobody = cli("tenant", "list", "--url", url)
        assert (nobody.code, "needs somebody signed in" in nobody.err) == (1, True)
