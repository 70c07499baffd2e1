"""A real Chromium, headless, for tests: opens one address and runs until told to end.

`chromium` as Debian packages it (`apt-get install chromium`), or the program that CHROMIUM names. Who has none skips
those tests; CI has it. Rules: it resolves nothing but this machine, and ends with its test, by pid.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_PROGRAM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
needed = pytest.mark.skipif(
    _PROGRAM is None, reason="needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"
)
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--password-store=basic",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
_END_SECONDS = 5.0


@contextlib.contextmanager
def opened(url: str, profile: Path) -> Iterator[None]:
    """A browser with this page open. `profile`: a directory of its own."""
    assert _PROGRAM is not None
    browser = subprocess.Popen(
        [_PROGRAM, *_OPTIONS, f"--user-data-dir={profile}", url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(browser.pid, signal.SIGKILL)  # its own session, begun here: the browser and its children
        browser.wait(_END_SECONDS)
