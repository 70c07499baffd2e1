"""The supervisor with real processes: start, stop, discovery, and what it refuses."""

from __future__ import annotations

import json
import os
import pty
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gatehouse.config.paths import DataDir
from gatehouse.supervisor import Serving, find
from tests.crash.processes import free_port
from tests.supervisor.served import ROOT, Served, ask


def test_serves_and_stops_on_ctrl_c(tmp_path: Path) -> None:
    """I2: workers end before control, so that control sees all they wrote; nothing of the run is left behind."""
    with Served(tmp_path / "data") as served:
        ready = served.ready()
        assert ready["pid"] == served.pid
        assert ready["url"] == f"http://127.0.0.1:{ready['port']}"
        assert find(served.data) == Serving(**{k: v for k, v in ready.items() if k != "event"})
        served.connect(ready["port"])[0].close()
        served.interrupt()
        stopped = [served.event("stopped")["name"] for _ in range(3)]
        assert set(stopped[:2]) == {"worker 0", "worker 1"}
        assert stopped[2] == "control"
        assert served.end() == 0
        assert list(served.data.run.iterdir()) == []
        assert find(served.data) is None


def test_private_files(tmp_path: Path) -> None:
    with Served(tmp_path / "data", {"some": "settings"}) as served:
        served.ready()
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode) for path in (served.data.root, *served.data.root.rglob("*"))
        }
        # What children make themselves is private by their umask.
        private = (
            "lock",
            "settings",
            "serve.json",
            "local-token",
            "starts-control",
            "starts-worker-0",
            "starts-worker-1",
        )
        assert modes == dict.fromkeys(("data", "journal", "run", "secrets"), 0o700) | dict.fromkeys(private, 0o600)
        assert json.loads(served.data.settings.read_bytes()) == {"some": "settings"}
        assert json.loads(served.data.serving.read_bytes())["pid"] == served.pid
        assert len(served.data.local_token.read_bytes()) == 32


def test_what_children_inherit(tmp_path: Path) -> None:
    """Own session, no core dumps, all descriptors allowed, private files, no stdin, default signals."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Served(tmp_path / "data") as served:
        for name in ("control", "worker 0", "worker 1"):
            start = served.started(name)
            assert start["session"] == start["pid"]
            assert start["core"] == [0, 0]
            assert start["files"] == [hard, hard]
            assert start["umask"] == 0o077
            assert start["stdin"] == os.devnull
            assert start["hangup"]


def test_second_serve_on_the_directory(tmp_path: Path) -> None:
    with Served(tmp_path / "data") as first:
        ready = first.ready()
        with Served(tmp_path / "data") as second:
            assert second.end() == 1
            assert f"(pid {first.pid})" in second.line("--data")
        # Not disturbed: neither its files nor its port.
        assert first.data.settings.exists()
        assert first.data.serving.exists()
        first.connect(ready["port"])[0].close()


def test_port_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Served(tmp_path / "data", port=port) as served:
            assert served.end() == 1
            assert f"port {port} on 127.0.0.1 is taken" in served.line("--port")
            assert served.events == []


def test_the_port_is_free_at_once_after_a_stop(tmp_path: Path) -> None:
    with Served(tmp_path / "data", port=free_port()) as first:
        port = first.ready()["port"]
        connection, _ = first.connect(port)
        first.interrupt()
        assert first.end() == 0
        connection.close()
    with Served(tmp_path / "data", port=port) as second:
        second.connect(second.ready()["port"])[0].close()


def test_unusable_directory(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    with Served(tmp_path / "data") as served:
        assert served.end() == 2
        served.line("chmod 700")


def test_a_child_that_says_why_it_cannot_start(tmp_path: Path) -> None:
    with Served(tmp_path / "data", {"worker 1": {"failed": "no such\nca_file"}}) as served:
        assert served.end() == 1
        served.line("worker 1 cannot start: no such ca_file")
        assert list(served.data.run.iterdir()) == []


def test_a_child_that_ends_before_it_is_ready(tmp_path: Path) -> None:
    with Served(tmp_path / "data", {"control": {"exit": 3}}) as served:
        assert served.end() == 1
        served.line("control cannot start: it ended before it was ready (exit status 3)")


def test_a_child_that_is_not_ready_in_time(tmp_path: Path) -> None:
    """All of them: on a busy machine another one might not be, either."""
    mute = {"worker 0": {"mute": True}, "control": {"mute": True}}
    with Served(tmp_path / "data", mute, workers=1, ready_seconds=1.0) as served:
        assert served.end() == 1
        served.line("cannot start: not ready after 1 s")


def test_stopped_while_starting(tmp_path: Path) -> None:
    with Served(tmp_path / "data", {"worker 0": {"mute": True}}) as served:
        served.event("mute")
        served.signal(signal.SIGTERM)
        assert served.end() == 0


def test_calls_may_finish_within_the_grace(tmp_path: Path) -> None:
    with Served(tmp_path / "data", {"worker 0": {"stop": 0.3}}, grace_seconds=30.0) as served:
        served.ready()
        served.signal(signal.SIGTERM)
        served.line("may finish within 30 s")
        assert served.event("stopped", name="worker 0")
        assert served.end() == 0
        assert not any("killed" in line for line in served.log)


def test_a_worker_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    """And control, which then records its open calls as interrupted, is still stopped properly (I2)."""
    with Served(tmp_path / "data", {"worker 0": {"stop": "never"}}, grace_seconds=0.0) as served:
        served.ready()
        served.interrupt()
        served.line("worker 0 did not stop in time: killed")
        served.event("stopped", name="control")
        assert served.end() == 0


def test_second_ctrl_c(tmp_path: Path) -> None:
    """Workers are killed at once; control still gets its bound."""
    stops = {"worker 0": {"stop": "never"}, "worker 1": {"stop": "never"}, "control": {"stop": 0.2}}
    with Served(tmp_path / "data", stops, grace_seconds=60.0) as served:
        served.ready()
        served.interrupt()
        served.event("stopping", name="worker 0")
        served.interrupt()
        served.event("stopped", name="control")
        assert served.end() == 0


def test_control_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    with Served(tmp_path / "data", {"control": {"stop": "never"}}, collect_seconds=0.2) as served:
        served.ready()
        served.interrupt()
        served.line("control did not stop in time: killed")
        assert served.end() == 0


def test_hang_up_without_a_terminal_is_ignored(tmp_path: Path) -> None:
    with Served(tmp_path / "data") as served:
        ready = served.ready()
        served.signal(signal.SIGHUP)
        served.line("SIGHUP is ignored")
        served.connect(ready["port"])[0].close()
        served.interrupt()
        assert served.end() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="how a terminal becomes the controlling one differs")
def test_a_terminal_that_goes_away_stops_it(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    with Served(tmp_path / "data", terminal=os.ttyname(slave)) as served:
        served.ready()
        os.close(slave)
        os.close(master)
        served.line("stopping after SIGHUP")
        assert served.end() == 0


def test_closed_standard_descriptors(tmp_path: Path) -> None:
    """Their numbers must not go to the lock or the listener."""
    with Served(tmp_path / "data", prefix="<&- 2>&-") as served:
        ready = served.ready()
        if sys.platform == "linux":
            assert {os.readlink(f"/proc/{served.pid}/fd/{number}") for number in (0, 2)} == {os.devnull}
        connection, pid = served.connect(ready["port"])
        assert ask(connection) == pid
        connection.close()
        served.interrupt()
        assert served.end() == 0


def test_ipv6(tmp_path: Path) -> None:
    with Served(tmp_path / "data", host="::1") as served:
        ready = served.ready()
        assert ready["host"] == "::1"
        assert ready["url"] == f"http://[::1]:{ready['port']}"
        with socket.create_connection(("::1", ready["port"]), timeout=30) as connection:
            ask(connection)


def test_standard_library_only() -> None:
    """The supervisor stays small: nothing from outside the standard library is imported."""
    code = "import sys, sysconfig, gatehouse.supervisor; print('\\n'.join(m.partition('.')[0] for m in sys.modules))"
    command = [sys.executable, "-P", "-S", "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    imported = subprocess.run(command, env=environment, check=True, capture_output=True, timeout=20, text=True)
    strangers = set(imported.stdout.split()) - sys.stdlib_module_names - {"gatehouse", "__main__"}
    assert not {name for name in strangers if not name.startswith("_sysconfigdata")}


def test_a_file_left_by_a_killed_serve_is_recognised(tmp_path: Path) -> None:
    with Served(tmp_path / "data", port=free_port()) as first:
        port = first.ready()["port"]
        first.process.kill()
        first.end()
        assert first.data.serving.exists()
        assert find(first.data) is None
    with Served(tmp_path / "data", port=port) as second:
        assert find(DataDir(tmp_path / "data")) is None or second.events
        second.ready()
        found = find(second.data)
        assert found
        assert found.pid == second.pid
