"""`gatehouse config`: what is in force and why; an import is never lost or overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.config.loading import load

FILE = """
server:
  port: 9000
routes:
  - {match: "/openai/*", idle: 900}
providers:
  my-vllm: {base_url: "http://127.0.0.1:8001"}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE)
    return path


def test_validate(cli: Cli, file: Path) -> None:
    assert cli("config", "validate") == (0, "valid: no configuration file\n", "")
    assert cli("config", "validate", str(file)) == (0, f"valid: configuration from {file}\n", "")
    assert cli("config", "validate", GATEHOUSE_CONFIG=str(file)).out == f"valid: configuration from {file}\n"
    found = cli("config", "validate", GATEHOUSE_SERVER__PORT="1")
    assert found.out == "valid: no configuration file, 1 from the environment\n"
    assert cli("config", "validate", GATEHOUSE_SERVER__PORT="x").code == 2
    assert cli("config", "validate", str(file.with_name("none.yaml"))).code == 2
    bad = cli("config", "validate", GATEHOUSE_PROVIDERS__OPENAI__CA_FILE=str(file))
    assert bad.code == 2 and "providers.openai.ca_file cannot be used" in bad.err


def test_the_data_directory_may_hold_the_file(cli: Cli, data: Path) -> None:
    data.mkdir()
    (data / "gatehouse.yaml").write_text("server: {port: 1}")
    assert cli("config", "validate").out == f"valid: configuration from {data}/gatehouse.yaml\n"


def test_show_says_what_is_in_force_and_where_it_came_from(cli: Cli, file: Path, tmp_path: Path) -> None:
    done = cli("config", "show", "--config", str(file), GATEHOUSE_SERVER__WORKERS="3")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == f"# configuration from {file}, 1 from the environment"
    assert f"  port: 9000  # {file}:3" in lines
    assert "  workers: 3  # GATEHOUSE_SERVER__WORKERS" in lines
    assert '  host: "127.0.0.1"' in lines
    assert f'    base_url: "http://127.0.0.1:8001"  # {file}:7' in lines
    again = tmp_path / "again.yaml"
    again.write_text(done.out)
    assert load(again, {}) == load(file, {"GATEHOUSE_SERVER__WORKERS": "3"})


def test_show_as_json(cli: Cli, file: Path) -> None:
    said = json.loads(
        cli("config", "show", "--format", "json", "--config", str(file), GATEHOUSE_SERVER__WORKERS="3").out
    )
    assert said["file"] == str(file)
    assert said["settings"]["server"]["port"] == 9000
    assert said["origins"] == {
        "server.port": f"{file}:3",
        "routes": f"{file}:4",
        "providers.my-vllm.base_url": f"{file}:7",
        "server.workers": "GATEHOUSE_SERVER__WORKERS",
    }


def test_passwords_in_urls_are_masked(cli: Cli) -> None:
    done = cli("config", "show", GATEHOUSE_DATABASE__URL="sqlite:////x/u:hunter2@y/db://me:hunter2@host/z.db")
    assert done.code == 0
    assert "hunter2" not in done.out.partition("://me")[2]
    assert '"sqlite://***@host/z.db"' in done.out


def test_import(cli: Cli, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "ongoingai.yaml", tmp_path / "gatehouse.yaml"
    theirs.write_text("server: {port: 9090, host: 127.0.0.1}\nauth: {enabled: true}\n")
    done = cli("config", "import", str(theirs))
    assert done.code == 0
    assert "  port: 9090\n" in done.out
    assert (
        done.err
        == "not carried over: auth.enabled: accounts are not in the configuration: run `gatehouse init`, then make "
        "keys with `gatehouse key create`\n"
    )
    written = cli("config", "import", str(theirs), "-o", str(ours))
    assert (written.code, written.out, written.err) == (0, "", done.err)
    assert ours.read_text() == done.out
    again = cli("config", "import", str(theirs), "-o", str(ours))
    assert again.code == 1
    assert again.err == f"Error: cannot write {ours}: File exists\n"
    assert cli("config", "import", str(tmp_path / "none.yaml")).code == 2
