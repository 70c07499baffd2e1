"""Python frameworks as clients (O12): `langchain-openai`, `langchain-anthropic`, `litellm`, each with its own requests.

They bring some eighty packages along, so they live in an environment of their own, made once under `build/` from
`python/requirements.txt` (hashes included).
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import anthropic_api, openai_api
from tests.running import House
from tests.sdk.installed import install, place

KEY = "sk-framework-callers-own-key-0001"
_HERE = Path(__file__).with_name("python")


@functools.cache
def _python() -> Path:
    """The interpreter of an environment with the pinned packages, made anew when the pins change."""
    requirements = _HERE / "requirements.txt"
    folder = place("frameworks", requirements.read_bytes(), sys.version.encode())
    python = folder / "bin" / "python"
    make = (sys.executable, "-m", "venv", ".")
    fill = (str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", str(requirements))
    install(folder, (), (make, fill), 300)
    return python


def ask(clients: Iterable[str], house: House) -> list[Any]:
    """What each client made of the answer to its call, made one after the other."""
    done = subprocess.run(
        [str(_python()), str(_HERE / "clients.py"), house.url, *clients],
        env={**os.environ, "CALLER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return found


CLIENTS = {
    "langchain-openai": (openai_api.TEXT, "openai/chat"),
    "langchain-openai-stream": (openai_api.TEXT, "openai/chat"),
    "langchain-openai-embeddings": (3, "openai/embeddings"),
    "langchain-anthropic": (anthropic_api.TEXT, "anthropic/messages"),
    "langchain-anthropic-stream": (anthropic_api.TEXT, "anthropic/messages"),
    "litellm-openai": (openai_api.TEXT, "openai/chat"),
    "litellm-openai-stream": (openai_api.TEXT, "openai/chat"),
    "litellm-anthropic": (anthropic_api.TEXT, "anthropic/messages"),
}


@pytest.mark.timeout(420)
def test_frameworks_get_their_answers_and_leave_their_records(house: House) -> None:
    with house.gateway.recorded(len(CLIENTS)) as records:
        assert ask(CLIENTS, house) == [answer for answer, _ in CLIENTS.values()]
    for record, (client, (_, route)) in zip(records, CLIENTS.items(), strict=True):
        assert (record.decision["route"], record.outcome["outcome"]) == (route, "ok"), client
        assert record.decision.get("stream", False) == client.endswith("-stream"), client
        assert (record.outcome["usage_source"], record.outcome["price"]) == ("provider", "known"), client
        assert KEY not in json.dumps([record.decision, record.outcome]), client
