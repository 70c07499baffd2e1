"""The persisted snapshot."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.gateway import persisted
from gatehouse.gateway.snapshot import filled
from tests.gateway.entries import PLAIN, any_snapshots, sections


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.bin"
    assert persisted.read(path) is None and persisted.version(path) == 0
    for version in (7, 8):
        snapshot = filled(PLAIN, sections(20), version)
        persisted.write(path, snapshot)
        assert persisted.read(path) == snapshot
        assert persisted.version(path) == version
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["snapshot.bin"]


@settings(max_examples=8)
@given(any_snapshots(2**40))
def test_any_snapshot_survives(tmp_path_factory: pytest.TempPathFactory, snapshot: object) -> None:
    path = tmp_path_factory.getbasetemp() / "any-snapshot.bin"
    persisted.write(path, snapshot)  # type: ignore[arg-type]
    assert persisted.read(path) == snapshot


@settings(max_examples=30)
@given(st.data())
def test_any_damage_is_seen(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Every byte counts, those of the version in the header too: by them a worker decides whether to read again."""
    path = tmp_path_factory.getbasetemp() / "damaged-snapshot.bin"
    snapshot = filled(PLAIN, sections(5), 7)
    persisted.write(path, msgspec.structs.replace(snapshot, prices=msgspec.structs.replace(PLAIN.prices, listed={})))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(persisted.DamagedError):
        persisted.read(path)


def test_another_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.bin"
    persisted.write(path, PLAIN)
    content = bytearray(path.read_bytes())
    content[8:10] = (9).to_bytes(2, "big")
    path.write_bytes(content)
    with pytest.raises(persisted.DamagedError, match="format 9, and this release writes 1"):
        persisted.read(path)
    assert persisted.version(path) == 0


def test_setting_aside_and_tidying(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.bin"
    for content in (b"first", b"second"):
        path.write_bytes(content)
        assert persisted.set_aside(path).read_bytes() == content
    (tmp_path / ".snapshot.bin.12.abc").write_bytes(b"half")
    (tmp_path / ".other.12.abc").write_bytes(b"not ours")
    persisted.tidy(path)
    assert sorted(os.listdir(tmp_path)) == [".other.12.abc", "snapshot.bin.damaged"]


def test_killed_while_writing_leaves_a_whole_one(tmp_path: Path) -> None:
    """Whoever reads meanwhile, and after a kill, has one version or another, whole."""
    path = tmp_path / "snapshot.bin"
    code = (
        "import pathlib, sys\nfrom gatehouse.gateway import persisted\nfrom gatehouse.gateway.snapshot import filled\n"
        "from tests.gateway.entries import PLAIN, sections\npath, made = pathlib.Path(sys.argv[1]), sections(500)\n"
        "for version in range(2, 10**6):\n"
        "    persisted.write(path, filled(PLAIN, made, version))\n"
        "    print(version, flush=True)"
    )
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            said = [int(writer.stdout.readline()) for _ in range(5)]
            for _ in range(10):
                found = persisted.read(path)
                assert found is not None and len(found.keys) == 500
            writer.kill()
            said += map(int, writer.stdout.read().split())
        left = persisted.read(path)
        assert left is not None and left.version >= said[-1], "what was said to be on disk is"
        persisted.tidy(path)
        assert os.listdir(tmp_path) == ["snapshot.bin"]
