"""`debug --diff`, and `debug --bundle`: what is handed on is whole, the same each time, and can be checked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from gatehouse.journal.chain import read_line
from tests.cli.conftest import Cli
from tests.cli.recording import NASTY, decision, new_ids, outcome, record
from tests.cli.test_replay import KEY, chat
from tests.running import house


@pytest.fixture
def recorded(data: Path) -> list[str]:
    calls = new_ids(2)
    other = decision(calls[1], model=NASTY)
    record(data, [(decision(calls[0]), outcome(calls[0])), (other, outcome(calls[1], cost=None))])
    return calls


def unpacked(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        found = {}
        for entry in tar.getmembers():
            file = tar.extractfile(entry)
            assert file is not None
            found[entry.name.partition("/")[2]] = file.read()
    return found


def test_two_calls_side_by_side(cli: Cli, recorded: list[str]) -> None:
    done = cli("debug", "--diff", *recorded)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].split() == recorded
    model = next(line for line in lines if line.startswith("model "))
    assert "gpt-4o-mini" in model
    assert "evil�]0;pwned" in model
    assert next(line for line in lines if line.startswith("cost")).split() == ["cost", "$0.0001234", "–"]
    assert all(character.isprintable() or character == "\n" for character in done.out)
    said = json.loads(cli("debug", "--diff", *recorded, "--format", "json").out)
    figures: dict[str, dict[str, Any]] = {figure["name"]: figure for figure in said["figures"]}
    assert figures["tokens_input"] == {
        "name": "tokens_input", "unit": "tokens", "left": 70, "right": 70, "same": True, "change": 0,
    }  # fmt: skip
    assert (figures["cost_nano_usd"]["right"], figures["cost_nano_usd"]["change"]) == (None, None)
    assert (said["request"], said["answer"], said["same_shape"]) == (None, None, True)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("last", "--diff", "a", "b"),
        ("--diff", "a"),
        ("last", "--with-bodies"),
        ("--diff", "a", "b", "--bundle", "x"),
    ],
)
def test_wrong_usage(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli("debug", *arguments).code == 2


def test_a_bundle_is_private_new_and_the_same_each_time(cli: Cli, recorded: list[str], tmp_path: Path) -> None:
    path, again = tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"
    done = cli("debug", recorded[0], "--bundle", str(path))
    assert (done.code, done.err) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cli("debug", recorded[0], "--bundle", str(again)).code == 0
    assert again.read_bytes() == path.read_bytes()
    taken = cli("debug", recorded[0], "--bundle", str(path))
    assert (taken.code, taken.err) == (1, f"Error: cannot create {path}: File exists\n")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    assert cli("debug", recorded[0], "--bundle", str(link)).code == 1
    assert not (tmp_path / "elsewhere").exists()


def test_its_lines_verify(cli: Cli, recorded: list[str], tmp_path: Path, data: Path) -> None:
    """They are those of the journal, byte for byte, and hold by themselves."""
    path = tmp_path / "b.tar.gz"
    cli("debug", recorded[0], "--bundle", str(path))
    files = unpacked(path)
    lines = files["journal.jsonl"].splitlines()
    places = json.loads(files["journal-places.json"])
    assert [place["kind"] for place in places] == ["decision", "outcome"]
    for line, place in zip(lines, places, strict=True):
        assert read_line(line).hash == place["hash"]
        assert (data / "journal" / place["file"]).read_bytes().splitlines()[place["line_no"] - 1] == line
    assert json.loads(files["call.json"])["id"] == recorded[0]
    assert set(files) == {"call.json", "versions.json", "journal.jsonl", "journal-places.json", "manifest.json"}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum")
def test_the_manifest_can_be_checked_as_documented(cli: Cli, recorded: list[str], tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    cli("debug", recorded[0], "--bundle", str(path))
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path, filter="data")
    folder = tmp_path / f"gatehouse-{recorded[0]}"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    sums = "".join(f"{file['sha256']}  {file['path']}\n" for file in manifest["files"])
    done = subprocess.run(["sha256sum", "-c", "-"], input=sums, cwd=folder, text=True, capture_output=True, timeout=20)
    assert done.returncode == 0, done.stdout
    assert {file["path"] for file in manifest["files"]} == set(os.listdir(folder)) - {"manifest.json"}
    assert all((folder / file["path"]).stat().st_size == file["size"] for file in manifest["files"])


def test_a_refused_call_is_one_line_and_cannot_be_replayed(cli: Cli, tmp_path: Path) -> None:
    """I2: one record that is both."""
    with house({"capture": {"bodies": True}}) as running:
        key = "gth_live_" + "x" * 36
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        status, answered, _ = running.gateway.call("POST", "/openai/v1/chat/completions", b"{}", headers)
        call = answered["x-gatehouse-id"]
        running.gateway.stored(call)
        names = {"GATEHOUSE_DATA": str(running.gateway.data), "GATEHOUSE_CONFIG": str(running.gateway.config)}
        assert status == 401
        assert cli("debug", call, "--bundle", str(tmp_path / "b.tar.gz"), **names).code == 0
        files = unpacked(tmp_path / "b.tar.gz")
        assert [place["kind"] for place in json.loads(files["journal-places.json"])] == ["call"]
        assert not any(key.encode() in content for content in files.values())
        done = cli("replay", call, "--key", "sk-x", **names)
        assert "it ended before it was forwarded" in done.err


def test_without_its_journal_it_says_what_is_missing(cli: Cli, recorded: list[str], tmp_path: Path, data: Path) -> None:
    assert cli("debug", recorded[0]).code == 0  # collected
    shutil.rmtree(data / "journal")
    done = cli("debug", recorded[0], "--bundle", str(tmp_path / "b.tar.gz"))
    assert done.code == 0
    assert "is not there; retention may have deleted its segment" in done.err
    notes = json.loads(unpacked(tmp_path / "b.tar.gz")["manifest.json"])["notes"]
    assert len(notes) == 2
    assert str(data) not in str(notes)


def test_bodies_only_if_asked_for_and_compared(cli: Cli, tmp_path: Path) -> None:
    """I3: and no key of the caller's anywhere."""
    with house({"capture": {"bodies": True}}) as running:
        calls = [chat(running.gateway, user=name) for name in ("first", "second")]
        names = {
            "GATEHOUSE_DATA": str(running.gateway.data),
            "GATEHOUSE_CONFIG": str(running.gateway.config),
        }
        without, inside = tmp_path / "without.tar.gz", tmp_path / "with.tar.gz"
        assert cli("debug", calls[0], "--bundle", str(without), **names).code == 0
        assert cli("debug", calls[0], "--bundle", str(inside), "--with-bodies", **names).code == 0
        files = unpacked(inside)
        assert set(files) - set(unpacked(without)) == {"request.body", "request.json", "response.body", "response.json"}
        assert files["request.body"] == running.openai.requests[0].body
        digest = hashlib.sha256(files["response.body"]).hexdigest()
        assert json.loads(files["call.json"])["response_sha256"] == digest
        assert not any(KEY.encode() in content for content in files.values())
        done = cli("debug", "--diff", *calls, **names)
        lines = done.out.splitlines()
        assert '  -  "user": "first"' in lines
        assert '  +  "user": "second"' in lines
        assert "answer: the same" in lines
