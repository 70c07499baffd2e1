"""What the numbers were measured on, and whether they can be."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.processes import BenchError
from gatehouse.config import build

_IDLE = 3
"""Position of idle time in /proc/stat."""
_PACKAGES = ("gatehouse", "uvloop", "httptools", "msgspec")


def check() -> None:
    """Fail with what to install, before anything is started."""
    if sys.platform != "linux":
        raise BenchError("the benchmarks read /proc and pin processes to cores: they need Linux")
    if len(os.sched_getaffinity(0)) < 2:
        raise BenchError("the benchmarks need two cores: one for what is measured, one for the load")
    missing = [tool for tool in ("wrk", "nginx") if _find(tool) is None]
    if missing:
        raise BenchError(f"not found: {', '.join(missing)}. Install with: apt-get install {' '.join(missing)}")


def facts() -> dict[str, str]:
    """Machine, kernel and versions, for the head of the table and the results file."""
    found = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nginx": _first_line("nginx", "-v").rpartition("/")[2],
        "wrk": next(iter(_first_line("wrk", "-v").split()[1:2]), "unknown"),
    }
    for package in _PACKAGES:
        found[package] = importlib.metadata.version(package)
    found["hot path"] = "compiled" if build.compiled() else "interpreted"
    return found


def busy(seconds: float = 1.0) -> float:
    """Share of all cores that something else uses, now that nothing of ours runs."""
    before = _cpu_ticks()
    time.sleep(seconds)
    after = _cpu_ticks()
    total = sum(after) - sum(before)
    return 1 - (after[_IDLE] - before[_IDLE]) / total if total else 0.0


def nginx() -> str:
    path = _find("nginx")
    if path is None:
        raise BenchError("nginx is not installed")
    return path


def _find(tool: str) -> str | None:
    """nginx lives in sbin, which is not on everybody's PATH."""
    return shutil.which(tool, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))


def _cpu_ticks() -> list[int]:
    return [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_line(tool: str, option: str) -> str:
    path = _find(tool)
    if path is None:
        return ""
    done = subprocess.run([path, option], capture_output=True, text=True, timeout=10, check=False)
    return next(iter((done.stdout + done.stderr).splitlines()), "")
