"""The documentation is true: links lead somewhere, examples run, and nothing a user can meet is undocumented."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatehouse import errors
from tests.running import Gateway, gateway

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")])
README = (ROOT / "README.md").read_text()
DEFAULT_URL = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def running() -> Iterator[Gateway]:
    with gateway() as started:
        yield started


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_knows_this_machine(page: Path) -> None:
    assert not re.search(r"/(?:work/|root/|home/\w)", page.read_text()), "a path of some machine"


def test_every_error_code_is_documented() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    for kind in errors.KINDS:
        rows = [row for row in page.splitlines() if f"`{kind.code}`" in row and f"| {kind.status} |" in row]
        assert rows, f"{kind.code} {kind.status} is not in docs/errors.md"


def test_the_readmes_first_call_works(running: Gateway) -> None:
    command = next(block for block in blocks(README, "sh") if block.startswith("curl"))
    words = shlex.split(command.replace("\\\n", " ").replace(DEFAULT_URL, running.url))
    with running.recorded():
        done = subprocess.run([*words, "--silent", "--fail"], capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"]


def test_the_readmes_sdk_example_works_and_the_call_is_seen(running: Gateway) -> None:
    program = blocks(README, "python")[0].replace(DEFAULT_URL, running.url)
    with running.recorded():
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "hello" in done.stdout.lower()
    for command in re.findall(r"^\.venv/bin/gatehouse (report|debug last|verify)$", README, re.MULTILINE):
        shown = running.run(*command.split())
        assert shown.returncode == 0, shown.stderr
    assert "simulated-chat" in running.run("report").stdout


def test_the_makefile_offers_what_the_readme_promises() -> None:
    offered = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"serve", "test", "bench", "help"} <= offered
    assert set(re.findall(r"^make ([a-z]+)$", README, re.MULTILINE)) <= offered
