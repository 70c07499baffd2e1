"""Issuers and the webhook on the command line, over a real directory that no `serve` runs on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gatehouse.auth import passwords
from gatehouse.cli import init
from gatehouse.cli.options import set_up
from gatehouse.control.founding import Owner
from tests.cli.conftest import Cli

SSO = "https://sso.example.invalid/realms/main"


@pytest.fixture
def house(cli: Cli, data: Path) -> Cli:
    setup = set_up({"GATEHOUSE_DATA": str(data)}, None, None)
    setup.data.create()
    assert init.founded(setup, Owner("ann@example.com", passwords.hash("correct horse battery"))) is not None
    return cli


def test_issuers(house: Cli) -> None:
    assert house("issuer", "list").err == "There are no issuers.\n"
    done = house("issuer", "create", SSO, "--audience", "gatehouse", "--project", "default", "--scope", "chat")
    assert done.code == 0 and "could not be fetched" in done.err, done.err
    assert re.search(r"^project +default$", done.out, re.MULTILINE) and "not yet" in done.out
    (one,) = json.loads(house("issuer", "list", "--format", "json").out)["items"]
    assert (one["issuer"], one["audience"], one["scopes"]) == (SSO, "gatehouse", ["chat"])
    done = house("issuer", "update", SSO, "--project", "", "--algorithm", "EdDSA", "--groups-claim", "roles")
    assert done.code == 0, done.err
    assert house("issuer", "disable", one["id"]).out == f"issuer {one['id']} is disabled\n"
    shown = json.loads(house("issuer", "show", SSO, "--format", "json").out)
    assert (shown["project"], shown["algorithms"], shown["groups_claim"]) == (None, ["EdDSA"], "roles")
    assert shown["disabled"]
    assert not json.loads(house("issuer", "update", SSO, "--enable", "--format", "json").out)["disabled"]
    assert house("issuer", "refresh", SSO).code == 1
    assert house("issuer", "create", SSO, "--audience", "another").code == 0
    several = house("issuer", "show", SSO)
    assert several.code == 1 and one["id"] in several.err and "another" in several.err
    assert house("issuer", "delete", one["id"]).code == 0
    assert house("issuer", "delete", SSO).code == 0
    assert house("issuer", "show", SSO).err == f"Error: there is no issuer {SSO}\n"
    for words, says in (
        (("http://plain.example", "--audience", "x"), "issuer: "),
        ((SSO, "--audience", "x", "--algorithm", "none"), "algorithms[0]: must be one of"),
        ((SSO, "--audience", "x", "--project", "nowhere"), "there is no project nowhere"),
    ):
        done = house("issuer", "create", *words)
        assert done.code != 0 and says in done.err, done.err


def test_webhook(house: Cli) -> None:
    assert house("webhook", "show").err == "Error: there is no webhook\n"
    done = house("webhook", "set", "https://hooks.example.invalid/x")
    found = re.search(r"^secret +([0-9a-f]{64}) .shown this once", done.out, re.MULTILINE)
    assert done.code == 0 and found, done.err
    shown = house("webhook", "show").out
    assert "https://hooks.example.invalid/x" in shown and found[1] not in shown
    tried = house("webhook", "test")
    assert tried.code == 1 and "it is not taken: " in tried.err
    assert house("webhook", "set", "http://plain.example").code == 2
    assert house("webhook", "delete").out == "events are posted no more\n"
    assert house("webhook", "test").code == 1
