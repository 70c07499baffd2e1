"""What happens when processes die: restarts, orphans, the rest serving on (I2, I8)."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import statistics
import sys
import time
from pathlib import Path

import pytest

from tests.supervisor.served import Served, ask


def test_a_dead_worker_is_restarted_while_the_other_serves_on(tmp_path: Path) -> None:
    """I8: the connections of the living worker notice nothing."""
    with Served(tmp_path / "data") as served:
        port = served.ready()["port"]
        dead, alive = (served.started(name)["pid"] for name in ("worker 0", "worker 1"))
        connections = [served.connect(port) for _ in range(20)]
        assert {pid for _, pid in connections} == {dead, alive}
        os.kill(dead, signal.SIGKILL)
        served.line("worker 0 ended (killed by SIGKILL); starting it again in 0.1 s")
        for connection, pid in connections:
            if pid == alive:
                assert ask(connection) == alive
            connection.close()
        new = served.started("worker 0")["pid"]
        os.kill(new, signal.SIGABRT)
        served.line("worker 0 ended (killed by SIGABRT); starting it again in 0.2 s")
        served.started("worker 0")
        served.interrupt()
        assert served.end() == 0


def test_no_connection_is_lost_to_a_queue_of_the_dead(tmp_path: Path) -> None:
    """All workers dead: connections wait in the one listener until one is back."""
    with Served(tmp_path / "data", workers=1) as served:
        port = served.ready()["port"]
        os.kill(served.started("worker 0")["pid"], signal.SIGKILL)
        served.line("starting it again in 0.1 s")
        connection, pid = served.connect(port)
        assert pid == served.started("worker 0")["pid"]
        connection.close()


def test_nobody_waits_for_a_dead_worker_to_accept(tmp_path: Path) -> None:
    with Served(tmp_path / "data", {"worker 0": {"again": {"exit": 1}}}) as served:
        port = served.ready()["port"]
        os.kill(served.started("worker 0")["pid"], signal.SIGKILL)
        served.line("worker 0 ended (killed by SIGKILL)")
        connection, _ = served.connect(port)
        connection.sendall(b"others?")
        assert connection.recv(64) == b"None\n"
        connection.close()


def test_a_dead_control_is_restarted(tmp_path: Path) -> None:
    """I8: calls go on without it."""
    with Served(tmp_path / "data") as served:
        port = served.ready()["port"]
        os.kill(served.started("control")["pid"], signal.SIGKILL)
        served.line("control ended (killed by SIGKILL); starting it again in 0.1 s")
        served.connect(port)[0].close()
        served.started("control")
        served.interrupt()
        assert served.event("stopped", name="control")
        assert served.end() == 0


def test_what_somebody_takes_out_of_run_is_put_back(tmp_path: Path) -> None:
    """Else no child that dies could be started again, and no command would find the gateway."""
    with Served(tmp_path / "data", {"some": "settings"}) as served:
        served.ready()
        files = (served.data.settings, served.data.serving, served.data.local_token)
        before = [path.read_bytes() for path in files]
        shutil.rmtree(served.data.run)
        os.kill(served.started("worker 0")["pid"], signal.SIGKILL)
        served.line("worker 0 ended (killed by SIGKILL); starting it again in 0.1 s")
        served.started("worker 0")
        said = served.line("taken away by somebody, and put back")
        assert all(str(path) in said for path in files)
        assert [path.read_bytes() for path in files] == before
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert stat.S_IMODE(served.data.run.stat().st_mode) == 0o700
        # By itself, too.
        served.data.serving.unlink()
        served.line("serve.json: taken away by somebody, and put back")
        # A data directory that was moved is not made again.
        served.data.root.rename(tmp_path / "moved")
        served.line("was taken away, and cannot be put back: No such file or directory")
        assert not served.data.root.exists()
        (tmp_path / "moved").rename(served.data.root)
        served.interrupt()
        assert served.end() == 0
        assert list(served.data.run.iterdir()) == []


@pytest.mark.parametrize("again", [{"exit": 1}, {"failed": "the disk is full"}])
def test_a_child_that_cannot_start_any_more_does_not_spin(tmp_path: Path, again: dict[str, object]) -> None:
    with Served(tmp_path / "data", {"control": {"again": again}}) as served:
        port = served.ready()["port"]
        begun = time.monotonic()
        os.kill(served.started("control")["pid"], signal.SIGKILL)
        for delay in ("0.1", "0.2", "0.4"):
            served.line(f"starting it again in {delay} s")
        assert time.monotonic() - begun >= 0.3
        if "failed" in again:
            served.line("control cannot start: the disk is full")
        served.connect(port)[0].close()
        # Also while it waits to be started again.
        served.interrupt()
        assert served.end() == 0
        assert (served.data.root / "starts-control").stat().st_size <= 4


@pytest.mark.parametrize("grandchild", ["leashed", "wild"])
def test_the_processes_of_a_dead_child_die_with_it(tmp_path: Path, grandchild: str) -> None:
    with Served(tmp_path / "data", {"control": {"grandchild": grandchild}}) as served:
        served.ready()
        before = served.event("grandchild")["pid"]
        os.kill(served.started("control")["pid"], signal.SIGKILL)
        served.started("control")
        assert not is_running(before)
        served.interrupt()
        assert served.end() == 0


def test_no_orphan_survives_a_killed_supervisor(tmp_path: Path) -> None:
    """The pipe that all of them hold, grandchildren too, ends within a second. The best of three: the machine may be
    busy."""
    settings = {"control": {"grandchild": "leashed"}, "worker 1": {"grandchild": "leashed"}}
    took = []
    for attempt in range(3):
        with Served(tmp_path / f"data-{attempt}", settings) as served:
            served.ready()
            served.process.kill()
            begun = time.monotonic()
            assert served.end() == -signal.SIGKILL
            took.append(time.monotonic() - begun)
    assert min(took) < 1.0


def test_no_orphan_survives_a_supervisor_killed_early(tmp_path: Path) -> None:
    """Children that have not come far: some do not hold their leash yet."""
    took = []
    for attempt in range(5):
        with Served(tmp_path / f"data-{attempt}", {"worker 0": {"mute": True}}, workers=3) as served:
            while not (served.data.run / "settings").exists():
                assert served.process.poll() is None
            time.sleep(0.05 * attempt)
            served.process.kill()
            begun = time.monotonic()
            assert served.end() == -signal.SIGKILL
            took.append(time.monotonic() - begun)
    assert statistics.median(took) < 2.0


def test_a_stopped_child_dies_with_a_killed_supervisor(tmp_path: Path) -> None:
    """A process that cannot run cannot read its pipe: the kernel has to do it."""
    with Served(tmp_path / "data") as served:
        served.ready()
        os.kill(served.started("worker 0")["pid"], signal.SIGSTOP)
        served.process.kill()
        assert served.end() == -signal.SIGKILL


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if sys.platform != "linux":
        return True
    # A zombie waits for whoever inherited it.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
