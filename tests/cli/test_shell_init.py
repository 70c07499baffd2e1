"""O12: real shells take the output as it is, and every value arrives unchanged."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gatehouse.cli.shell_init import SHELLS, export
from tests.cli.conftest import Cli

NASTY = "http://h/'\"$(touch pwned)`id`\\ ;&|\t*!~#%"


def sourced(shell: str, script: str, name: str, folder: Path) -> str:
    command = {"fish": f"echo {{}} | source; printenv {name}"}.get(shell, 'eval "$0"; printenv ' + name)
    if shell == "fish":
        (folder / "script").write_text(script)
        command = f"source {folder}/script; printenv {name}"
    done = subprocess.run(
        [shell, "-c", command, script],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
    )
    return done.stdout.removesuffix("\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_quoting_in_the_real_shell(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert sourced(shell, export(shell, "OPENAI_BASE_URL", NASTY), "OPENAI_BASE_URL", tmp_path) == NASTY
    assert not (tmp_path / "pwned").exists()


def test_quoting_for_fish_by_its_rules() -> None:
    """fish: inside single quotes only `\\\\` and `\\'` are special."""
    assert export("fish", "X", "a'b\\c") == "set -gx X 'a\\'b\\\\c';"


def test_variables(cli: Cli, tmp_path: Path) -> None:
    done = cli("shell-init", "bash")
    assert done.code == 0
    assert done.out.splitlines() == [
        "export OPENAI_BASE_URL=http://127.0.0.1:8080/openai/v1;",
        "export OPENAI_API_BASE=http://127.0.0.1:8080/openai/v1;",
        "export ANTHROPIC_BASE_URL=http://127.0.0.1:8080/anthropic;",
        "export GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8080/google;",
        "# Codex CLI reads no variable; put this into ~/.codex/config.toml:",
        '#   openai_base_url = "http://127.0.0.1:8080/openai/v1"',
        "# Azure OpenAI: the endpoint is http://127.0.0.1:8080/azure/RESOURCE, for https://RESOURCE.openai.azure.com",
    ]
    found = sourced("bash", done.out, "ANTHROPIC_BASE_URL", tmp_path)
    assert found == "http://127.0.0.1:8080/anthropic"


def test_the_shell_is_that_of_the_environment(cli: Cli) -> None:
    assert cli("shell-init", SHELL="/usr/bin/fish").out.startswith("set -gx OPENAI_BASE_URL 'http")
    assert cli("shell-init", SHELL="/bin/tcsh").out.startswith("export OPENAI_BASE_URL=")


def test_azure_keeps_its_resource(cli: Cli) -> None:
    done = cli("shell-init", "bash", AZURE_OPENAI_ENDPOINT="https://my-res.openai.azure.com/")
    assert "export AZURE_OPENAI_ENDPOINT=http://127.0.0.1:8080/azure/my-res;\n" in done.out
    assert "AZURE_OPENAI_ENDPOINT" not in cli("shell-init", AZURE_OPENAI_ENDPOINT="https://elsewhere.example").out


def test_prefixes_addresses_and_switched_off_providers(cli: Cli) -> None:
    done = cli(
        "shell-init",
        "bash",
        GATEHOUSE_SERVER__PORT="9000",
        GATEHOUSE_PROVIDERS__OPENAI__PREFIX="/oa",
        GATEHOUSE_PROVIDERS__ANTHROPIC__ENABLED="false",
    )
    assert "export OPENAI_BASE_URL=http://127.0.0.1:9000/oa/v1;\n" in done.out
    assert "ANTHROPIC" not in done.out
    public = cli("shell-init", "bash", GATEHOUSE_SERVER__PUBLIC_URL="https://gw.example/ai/")
    assert "export OPENAI_BASE_URL=https://gw.example/ai/openai/v1;\n" in public.out
    v6 = cli("shell-init", "bash", GATEHOUSE_SERVER__HOST="::", GATEHOUSE_SERVER__INSECURE="true")
    assert "export ANTHROPIC_BASE_URL='http://[::1]:8080/anthropic';\n" in v6.out


def test_a_free_port_is_unknown_until_something_runs(cli: Cli) -> None:
    done = cli("shell-init", GATEHOUSE_SERVER__PORT="0")
    assert (done.code, done.out) == (2, "")
    assert "no `gatehouse serve` runs" in done.err
