"""A real OpenID Connect provider on this machine (npm's `oidc-provider`), and a browser that logs in there.

It needs Node and npm. Who has neither skips those tests; CI has both.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest

from tests.control.doors import CLIENT_SECRET
from tests.sdk.installed import install, place

CALLBACK = "https://gateway.example/api/v1/sso/callback"
PEOPLE: dict[str, dict[str, Any]] = {
    "ada": {"email": "ada@corp.example", "name": "Ada", "groups": ["staff", "engineering"]},
    "root": {"email": "root@corp.example", "name": "Root", "groups": ["admins"]},
    "guest": {"email": "guest@corp.example", "groups": ["others"]},
    "taken": {"email": "OWNER@example.com", "groups": ["admins"]},
    "nameless": {"groups": ["staff"]},
}
_HERE = Path(__file__).with_name("provider")
needed = pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs node and npm")


@functools.cache
def _folder() -> Path:
    """A folder with the packages of the lock file, made anew when the lock changes."""
    lock = _HERE / "package-lock.json"
    folder = place("sign-on-provider", lock.read_bytes())
    command = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    install(folder, (lock, _HERE / "package.json"), [command], 110)
    shutil.copy(_HERE / "provider.mjs", folder)
    return folder


@contextmanager
def provider(client: str = "gatehouse", secret: str | None = CLIENT_SECRET) -> Iterator[str]:
    """A running provider that knows one client; its issuer."""
    told = {"client": {"id": client, "secret": secret}, "redirect": CALLBACK, "people": PEOPLE}
    process = subprocess.Popen(
        ["node", "provider.mjs", json.dumps(told)],
        cwd=_folder(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate(timeout=10)


def logged_in(address: str, who: str) -> str:
    """Where the provider sends a browser in the end that was sent to `address`, once somebody has logged in there."""
    with httpx2.Client(follow_redirects=False, trust_env=False, timeout=10) as browser:
        answer = browser.get(address)
        for _ in range(12):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["location"])
                if target.startswith(CALLBACK):
                    return target
                answer = browser.get(target)
                continue
            assert answer.status_code == 200, answer.text
            form = re.search(r'action="([^"]+)"', answer.text)
            prompt = re.search(r'name="prompt" value="([^"]+)"', answer.text)
            assert form and prompt, answer.text
            given = {"prompt": prompt[1]} | ({"login": who, "password": "x"} if prompt[1] == "login" else {})
            answer = browser.post(urljoin(str(answer.url), form[1]), data=given)
        raise AssertionError("the provider sends the browser in circles")


def path_of(url: str) -> str:
    """What a browser asks our origin for."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
