"""`docs/administration.md` is true: its commands run, in the order in which they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import fakes
from tests.running import gateway

PAGE = (Path(__file__).parents[2] / "docs" / "administration.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ASKED = {"gatehouse init ": "correct horse battery staple", "gatehouse credential create ": "sk-planted-0123456789"}
"""Commands that ask for something: here they get it from stdin."""


def lines() -> list[str]:
    found = [line for block in BLOCKS for line in block.splitlines() if line != "gatehouse serve"]
    for start, said in ASKED.items():
        option = " --password-stdin" if "init" in start else ""
        found = [f"{line}{option} <<< '{said}'" if line.startswith(start) else line for line in found]
    return found


@pytest.mark.timeout(300)
def test_the_commands_run_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "new-secret").write_text("sk-planted-9876543210")
    done = _bash(tmp_path, lines(), tmp_path / "data")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^gth_live_[0-9A-Za-z]{36}$", done.stdout, re.MULTILINE)) == 2
    assert "sk-planted" not in done.stderr + (tmp_path / "gatehouse-access.yaml").read_text()
    assert done.stderr.count("nothing to do") == 2
    assert (tmp_path / "admin-token").read_text().count(".") == 2


def test_while_a_gateway_runs_the_call_is_billed_to_its_team(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with fakes.openai() as fake:
        config = {"providers": {"openai": {"base_url": fake.url}}}
        (first, *rest) = lines()
        made = _bash(tmp_path, [first], data)
        assert made.returncode == 0, made.stderr
        with gateway(config, data=data) as running:
            until = next(number for number, line in enumerate(rest) if line.startswith("gatehouse limit list"))
            done = _bash(tmp_path, rest[: until + 1], data, GATEHOUSE_CONFIG=str(running.config))
            assert done.returncode == 0, done.stdout + done.stderr
            (key,) = re.findall(r"^gth_live_[0-9A-Za-z]{36}$", done.stdout, re.MULTILINE)
            (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
            with running.recorded() as records:
                said = subprocess.run(
                    [sys.executable, "-c", program],
                    env={"OPENAI_BASE_URL": f"{running.url}/v1", "OPENAI_API_KEY": key, "PATH": os.environ["PATH"]},
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                assert said.returncode == 0, said.stderr + running.said()
            assert records[0].outcome["outcome"] == "ok"
            # The stored secret went to the provider, and the gateway's key did not (I3).
            assert fake.last.header("authorization") == f"Bearer {ASKED['gatehouse credential create ']}"
            report = running.run("report", "--by", "team,project", "--format", "json")
            assert report.returncode == 0, report.stderr
            (row,) = json.loads(report.stdout)["rows"]
            assert (row["team"], row["calls"]) == ("payments", 1) and row["cost_nano_usd"] > 0
            revoked = running.run("key", "revoke", "checkout")
            assert revoked.returncode == 0, revoked.stderr
            headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
            status, _, body = running.call("POST", "/v1/chat/completions", b'{"model": "gpt-4o-mini"}', headers)
            assert (status, json.loads(body)["code"]) == (401, "UNAUTHORIZED")


def _bash(place: Path, script: list[str], data: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Commands as the page has them, one after the other, until one fails."""
    program = place / "bin" / "gatehouse"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gatehouse "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", "\n".join(["set -euo pipefail", *script])],
        env={"PATH": path, "HOME": str(place), "GATEHOUSE_DATA": str(data), **environ},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
