"""The data directory and its secrets (I3)."""

from __future__ import annotations

import os
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gatehouse.config.paths import SECRET_BYTES, DataDir, create_or_read_secret, read_secret, write_private
from gatehouse.errors import ConfigError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("given", "environ", "root"),
    [
        ("/a", {"GATEHOUSE_DATA": "/b", "XDG_DATA_HOME": "/c", "HOME": "/d"}, "/a"),
        (None, {"GATEHOUSE_DATA": "/b", "XDG_DATA_HOME": "/c", "HOME": "/d"}, "/b"),
        (None, {"XDG_DATA_HOME": "/c", "HOME": "/d"}, "/c/gatehouse"),
        (None, {"HOME": "/d"}, "/d/.local/share/gatehouse"),
        # Empty is not given; a relative XDG directory is to be ignored.
        ("", {"GATEHOUSE_DATA": "", "XDG_DATA_HOME": "", "HOME": "/d"}, "/d/.local/share/gatehouse"),
        (None, {"XDG_DATA_HOME": "c", "HOME": "/d"}, "/d/.local/share/gatehouse"),
        ("/a/../b/", {}, "/b"),
    ],
)
def test_locate(given: str | None, environ: dict[str, str], root: str) -> None:
    assert DataDir.locate(given, environ).root == Path(root)


def test_locate_makes_paths_absolute() -> None:
    assert DataDir.locate("data", {}).root == Path.cwd() / "data"
    assert DataDir.locate("~/data", {}).root == Path.home() / "data"


def test_create(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "several" / "levels" / "data")
    data.create()
    data.create()
    for directory in (data.root, data.journal, data.secrets, data.run):
        assert mode(directory) == 0o700
    here = (data.settings, data.serving, data.local_token, data.control_socket, data.snapshot_socket)
    assert {path.parent for path in here} == {data.run}


def test_a_directory_others_may_read_is_accepted_and_what_is_in_it_is_private(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    root.chmod(0o755)
    data = DataDir(root)
    data.create()
    assert mode(root) == 0o755
    assert mode(data.secrets) == 0o700


@pytest.mark.parametrize("bits", [0o770, 0o707, 0o1777])
@pytest.mark.parametrize("below", ["", "secrets", "run", "journal"])
def test_a_directory_others_may_write_is_refused(tmp_path: Path, bits: int, below: str) -> None:
    data = DataDir(tmp_path / "data")
    data.create()
    (data.root / below).chmod(bits)
    with pytest.raises(ConfigError, match=f"{data.root / below}.*chmod 700"):
        data.create()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir(mode=0o700)
    os.chown(root, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to user id 12345.*--data"):
        DataDir(root).create()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigError, match="cannot create.*--data"):
        DataDir(tmp_path / "data").create()


def test_a_long_path_still_has_a_socket(tmp_path: Path) -> None:
    """A Unix socket's path is limited to 107 bytes on Linux and 103 on macOS."""
    data, other = (DataDir(tmp_path / (name * 120)) for name in "ab")
    data.create()
    paths = (data.control_socket, other.control_socket, data.snapshot_socket, other.snapshot_socket)
    assert len(set(paths)) == 4
    for path in paths[::2]:
        assert mode(path.parent) == 0o700
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
        path.unlink()


def test_the_directory_of_the_socket_may_not_be_a_link(tmp_path: Path) -> None:
    """Below `/tmp` anybody could have put one."""
    data = DataDir(tmp_path / ("a" * 120))
    parent = data.control_socket.parent
    data.create()
    if any(parent.iterdir()):
        pytest.skip("in use")
    parent.rmdir()
    parent.symlink_to(tmp_path)
    try:
        with pytest.raises(ConfigError, match="symbolic link"):
            data.create()
    finally:
        parent.unlink()


def test_write_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    previous = os.umask(0)
    try:
        write_private(path, b"one")
        write_private(path, b"two")
    finally:
        os.umask(previous)
    assert path.read_bytes() == b"two"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_write_private_fails_whole(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    path.mkdir()
    with pytest.raises(OSError, match=f"directory: '{path}'$"):
        write_private(path, b"x")
    assert list(tmp_path.iterdir()) == [path]


def test_secret_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = create_or_read_secret(path)
    assert len(key) == SECRET_BYTES
    assert create_or_read_secret(path) == read_secret(path) == key
    assert mode(path) == 0o600
    assert create_or_read_secret(tmp_path / "other") != key


def test_all_who_race_get_the_same_secret(tmp_path: Path) -> None:
    for attempt in range(20):
        path, barrier = tmp_path / f"key-{attempt}", threading.Barrier(8)

        def race(path: Path = path, barrier: threading.Barrier = barrier) -> bytes:
            barrier.wait(10)
            return create_or_read_secret(path)

        with ThreadPoolExecutor(8) as pool:
            racers = [pool.submit(race) for _ in range(8)]
        assert len({racer.result(10) for racer in racers}) == 1
    assert all(not path.name.startswith(".") for path in tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_secret_of_the_wrong_size_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=f"{path}.*instead of 32.*backup"):
        create_or_read_secret(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o644])
def test_a_secret_open_to_others_is_refused(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "key"
    create_or_read_secret(path)
    path.chmod(bits)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        create_or_read_secret(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_elses_secret_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_or_read_secret(path)
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to user id 12345"):
        create_or_read_secret(path)


def test_what_is_no_secret(tmp_path: Path) -> None:
    key = tmp_path / "key"
    create_or_read_secret(key)
    (tmp_path / "link").symlink_to(key)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, problem in (("link", "cannot read"), ("pipe", "not a regular file"), ("absent", "missing.*backup")):
        with pytest.raises(ConfigError, match=problem):
            read_secret(tmp_path / name)
    with pytest.raises(ConfigError, match="cannot create the secret"):
        create_or_read_secret(tmp_path / "no" / "directory")
