"""Where the master keys come from, and that they are never made anew while secrets exist (D12)."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import pytest

from gatehouse.config import masterkeys
from gatehouse.config.masterkeys import new_key
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Secrets
from gatehouse.errors import ConfigError

NONE = Secrets()


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    made = DataDir(tmp_path / "data")
    made.create()
    return made


def test_the_file_in_the_data_directory(data: DataDir) -> None:
    keys = masterkeys.read(NONE, data, {}, create=True)
    assert len(keys) == 1
    assert len(keys[0]) == 44
    assert stat.S_IMODE(data.master_keys.stat().st_mode) == 0o600
    assert masterkeys.read(NONE, data, {}, create=True) == keys
    assert masterkeys.read(NONE, data, {}, create=False) == keys
    assert data.master_keys.read_bytes() == keys[0] + b"\n"


def test_with_secrets_and_without_the_key_nothing_starts(data: DataDir) -> None:
    with pytest.raises(ConfigError, match=f"stored provider secrets, but {data.master_keys}.*missing.*backup"):
        masterkeys.read(NONE, data, {}, create=False)
    assert not data.master_keys.exists()


@pytest.mark.parametrize("content", [b"", b"\n", b"too-short\n", b"A" * 43 + b"\n", b"A" * 43 + b"=x\n"])
def test_a_file_that_holds_no_keys_is_refused_and_kept(data: DataDir, content: bytes) -> None:
    data.master_keys.write_bytes(content)
    data.master_keys.chmod(0o600)
    with pytest.raises(ConfigError, match=str(data.master_keys)) as caught:
        masterkeys.read(NONE, data, {}, create=True)
    assert data.master_keys.read_bytes() == content
    assert not content.strip() or content.strip().decode() not in str(caught.value)


def test_our_own_file_must_be_private(data: DataDir) -> None:
    masterkeys.read(NONE, data, {}, create=True)
    data.master_keys.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        masterkeys.read(NONE, data, {}, create=False)


def test_rotation_in_the_data_directory(data: DataDir) -> None:
    (first,) = masterkeys.read(NONE, data, {}, create=True)
    both = masterkeys.add(data)
    assert both[1:] == (first,)
    assert masterkeys.read(NONE, data, {}, create=False) == both
    assert masterkeys.keep_newest(data) == both[:1] == masterkeys.read(NONE, data, {}, create=False)
    assert stat.S_IMODE(data.master_keys.stat().st_mode) == 0o600


def test_rotation_needs_a_file(data: DataDir) -> None:
    for rotate in (masterkeys.add, masterkeys.keep_newest):
        with pytest.raises(ConfigError, match="missing"):
            rotate(data)


def test_the_operators_file(data: DataDir, tmp_path: Path) -> None:
    """Mounts of secrets are links, and often somebody else's."""
    mounted, named = tmp_path / "mounted", tmp_path / "named"
    new, old = new_key(), new_key()
    mounted.write_bytes(b"%b\n\n  %b %b\n" % (new, old, new))
    named.symlink_to(mounted)
    secrets = Secrets(key_file=str(named))
    for mode in (0o400, 0o440, 0o600):
        mounted.chmod(mode)
        assert masterkeys.read(secrets, data, {}, create=True) == (new, old)
    for mode in (0o444, 0o620, 0o604):
        mounted.chmod(mode)
        with pytest.raises(ConfigError, match=r"secrets\.key_file .* is open to others"):
            masterkeys.read(secrets, data, {}, create=True)
    assert not data.master_keys.exists()
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path / "absent", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "pipe", "not a regular file"),
    ):
        with pytest.raises(ConfigError, match=said):
            masterkeys.read(Secrets(key_file=str(path)), data, {}, create=True)


def test_the_environment(data: DataDir) -> None:
    secrets = Secrets(key_env="MASTER_KEYS")
    new, old = new_key(), new_key()
    environ = {"MASTER_KEYS": f"{new.decode()} {old.decode()}"}
    assert masterkeys.read(secrets, data, environ, create=False) == (new, old)
    for empty in ({}, {"MASTER_KEYS": " "}):
        with pytest.raises(ConfigError, match="MASTER_KEYS.*not set or empty"):
            masterkeys.read(secrets, data, empty, create=True)
    with pytest.raises(ConfigError, match="the variable MASTER_KEYS: word 2") as caught:
        masterkeys.read(secrets, data, {"MASTER_KEYS": f"{new.decode()} planted"}, create=True)
    assert "planted" not in str(caught.value)
    assert new.decode() not in str(caught.value)


def command(program: str, *arguments: str, seconds: float = 10.0) -> Secrets:
    return Secrets(key_command=(sys.executable, "-c", program, *arguments), key_command_seconds=seconds)


def test_a_command(data: DataDir) -> None:
    """No shell reads it, and it learns nothing of ours."""
    key = new_key().decode()
    program = (
        "import os, sys; print(sys.argv[1]); assert sys.argv[2] == '$(id) ;'; assert 'GATEHOUSE_X' not in os.environ"
    )
    environ = dict(os.environ) | {"GATEHOUSE_X": "1"}
    assert masterkeys.read(command(program, key, "$(id) ;"), data, environ, create=False) == (key.encode(),)


def test_a_command_that_fails(data: DataDir) -> None:
    environ = dict(os.environ)
    for secrets, said in (
        (command("import sys; print('planted'); print('planted', file=sys.stderr); sys.exit(3)"), "status 3"),
        (command("print('planted')"), "printed: word 1"),
        (command(""), "printed holds no master key"),
        (Secrets(key_command=("no-such-program-here",)), "there is no program no-such-program-here"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            masterkeys.read(secrets, data, environ, create=True)
        assert "planted" not in str(caught.value)
    assert not data.master_keys.exists()


def test_a_command_that_hangs(data: DataDir) -> None:
    began = time.monotonic()
    hanging = command("import time; print('planted', flush=True); time.sleep(60)", seconds=0.5)
    with pytest.raises(ConfigError, match=r"not done within 0\.5 s") as caught:
        masterkeys.read(hanging, data, dict(os.environ), create=True)
    assert time.monotonic() - began < 30
    assert caught.value.__cause__ is None
