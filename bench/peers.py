"""Other gateways, measured with the same load where they are installed; one line says so where they are not.

LiteLLM: `pip install 'litellm[proxy]'` anywhere on PATH. Portkey: `npm install -g @portkey-ai/gateway`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from bench.processes import WORK_CORE, Watched, running, start, until
from bench.sides import CHAT_PATH, Origin, Side, free_port

_READY_SECONDS = 120.0


@contextlib.contextmanager
def litellm(origin: Origin, directory: Path) -> Iterator[Side | str]:
    """LiteLLM's proxy with one worker, no database."""
    program = shutil.which("litellm")
    if program is None:
        yield "LiteLLM is not installed (no `litellm` on PATH): skipped"
        return
    model = {"model": "openai/gpt-4o-mini", "api_base": origin.url + "/v1", "api_key": "sk-bench"}
    key = "sk-" + secrets.token_hex(32)
    settings = {
        "model_list": [{"model_name": "gpt-4o-mini", "litellm_params": model}],
        "general_settings": {"master_key": key},
    }
    config = directory / "litellm.json"
    config.write_text(json.dumps(settings))
    port = free_port()
    command = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    with running(start(command, core=WORK_CORE, log=directory / "litellm.log")) as child:
        url = f"http://127.0.0.1:{port}{CHAT_PATH}"
        headers = {"authorization": f"Bearer {key}"}
        until(lambda: _works(url, headers), _READY_SECONDS, "LiteLLM", alive=child)
        yield Side("litellm", url, (Watched("litellm", child.pid), origin.process), tuple(headers.items()))


@contextlib.contextmanager
def portkey(origin: Origin, directory: Path) -> Iterator[Side | str]:
    """Portkey's gateway. It takes its target from request headers."""
    script = _portkey_script()
    node = shutil.which("node")
    if script is None or node is None:
        yield "Portkey is not installed (no global @portkey-ai/gateway): skipped"
        return
    port = free_port()
    command = [node, str(script), f"--port={port}", "--headless"]
    env = {**os.environ, "PORT": str(port), "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
    with running(start(command, core=WORK_CORE, log=directory / "portkey.log", env=env)) as child:
        url = f"http://127.0.0.1:{port}{CHAT_PATH}"
        headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": origin.url + "/v1"}
        until(lambda: _works(url, headers), _READY_SECONDS, "Portkey", alive=child)
        yield Side("portkey", url, (Watched("portkey", child.pid), origin.process), tuple(headers.items()))


PEERS: tuple[Callable[[Origin, Path], AbstractContextManager[Side | str]], ...] = (litellm, portkey)


def _portkey_script() -> Path | None:
    npm = shutil.which("npm")
    if npm is None:
        return None
    done = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, timeout=30, check=False)
    script = Path(done.stdout.strip()) / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return script if script.exists() else None


def _works(url: str, headers: dict[str, str]) -> bool:
    body = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
    sent = {"content-type": "application/json", "authorization": "Bearer sk-bench", **headers}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, sent), timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
