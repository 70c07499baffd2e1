"""Workloads of starting: `serve` until ready, `gatehouse version`, and `make serve` from a fresh clone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bench import sides
from bench.calls import Effort
from bench.processes import BenchError, running, start, until
from bench.report import Aim, Finding, median

_ROOT = Path(__file__).resolve().parent.parent
_MAKE_SECONDS = 600.0


def startup(effort: Effort, directory: Path) -> Finding:
    """Warm bytecode: one start goes uncounted."""
    finding = Finding("startup", "Starting", ("what", "median s", "runs"))
    times = 2 if effort.quick else 7
    ready = [_serve(directory, number) for number in range(times + 1)][1:]
    program = Path(sys.executable).with_name("gatehouse")
    versions = [_version(program) for _ in range(2 * times + 1)][1:]
    for name, found in (("serve until ready", ready), ("gatehouse version", versions)):
        finding.rows.append((name, f"{median(found):.3f}", " ".join(f"{value:.3f}" for value in found)))
    finding.numbers = {"serve": ready, "version": versions}
    finding.aims += [
        Aim("`serve` ready, warm bytecode", "≤ 1.5 s", f"{median(ready):.2f} s", median(ready) <= 1.5),
        Aim("`gatehouse version`", "≤ 0.15 s", f"{median(versions):.2f} s", median(versions) <= 0.15),
    ]
    return finding


def make_serve(effort: Effort, directory: Path) -> Finding:
    """From `git clone` of the last commit to the first answer, with everything installed in between."""
    finding = Finding("make-serve", "`make serve` from clone to first answer", ("step", "s"))
    clone = directory / "clone"
    port = sides.free_port()
    env = sides.clean_environment() | {
        "GATEHOUSE_SERVER__PORT": str(port),
        "GATEHOUSE_DATA": str(directory / "make-serve-data"),
    }
    env.pop("VIRTUAL_ENV", None)
    git, make = (_tool(name) for name in ("git", "make"))
    started = time.monotonic()
    subprocess.run([git, "clone", "--quiet", "--depth", "1", _ROOT.as_uri(), str(clone)], check=True, timeout=120)
    cloned = time.monotonic() - started
    with running(start([make, "serve"], core=None, log=directory / "make.log", env=env, cwd=clone)) as child:
        url = f"http://127.0.0.1:{port}/simulated/v1/chat/completions"
        until(lambda: _answered(url), _MAKE_SECONDS, "make serve", alive=child)
        total = time.monotonic() - started
    shutil.rmtree(clone)
    finding.rows = [("git clone", f"{cloned:.1f}"), ("first answer", f"{total:.1f}")]
    finding.numbers = {"clone": cloned, "total": total}
    finding.aims.append(Aim("`make serve` from clone to first answer", "≤ 120 s", f"{total:.0f} s", total <= 120))
    return finding


def _serve(directory: Path, number: int) -> float:
    with tempfile.TemporaryDirectory(dir=directory, prefix=f"serve-{number}-") as scratch:
        started = time.monotonic()
        with sides.serving(Path(scratch)):
            return time.monotonic() - started


def _version(program: Path) -> float:
    started = time.monotonic()
    subprocess.run([program, "version"], check=True, capture_output=True, timeout=30)
    return time.monotonic() - started


def _answered(url: str) -> bool:
    body = b'{"model":"small","messages":[{"role":"user","content":"hello"}]}'
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise BenchError(f"{name} is not installed")
    return path
