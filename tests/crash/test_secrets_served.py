"""The same search on a real `gatehouse serve` with accounts: set up, used and administered as people do (I3, A2).

Planted: a provider's key, gateway keys, the owner's password, a session, a platform token. None may stand in any file
of the data directory but as the directory keeps it (sealed, hashed), in what the processes print, in any answer of
the management API after the one that hands it out, nor upstream but the provider's key.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx2

from tests import fakes
from tests.crash.test_secrets_stay import ASK, CHAT, STORED, _holds
from tests.fakes.server import Answer, Fake
from tests.running import Gateway, environment, gateway

EMAIL = "owner@example.com"
PASSWORD = "correct-horse-battery-staple-5561"
UNKNOWN = "gth_live_" + "Qw5" * 12


def test_I3_no_sink_of_a_served_gateway_holds_a_secret(tmp_path: Path) -> None:
    data = tmp_path / "data"
    init = [sys.executable, "-m", "gatehouse", "init", "--data", str(data), "--email", EMAIL, "--password-stdin"]
    done = subprocess.run(
        init, input=PASSWORD, capture_output=True, text=True, timeout=60, check=False, env=environment()
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout + done.stderr
    with fakes.openai(gzip_policy="never") as fake:
        config = {"providers": {"openai": {"base_url": fake.url}}, "capture": {"bodies": True}}
        with gateway(config, data=data) as house:
            (tmp_path / "secret").write_text(STORED)
            printed += _run(house, "credential", "create", "main", "--provider", "openai", "--secret-file",
                            str(tmp_path / "secret"))  # fmt: skip
            printed += _run(house, "project", "enable", "openai", "--credential", "main")
            key, other = (json.loads(_run(house, "key", "create", name, "--format", "json"))["key"] for name in "ab")
            token = json.loads(_run(house, "token", "create", "--format", "json"))["token"]
            answers, session = _used(house, fake, key, token)
            printed += _run(house, "key", "revoke", "b")
            answers += _administered(house, token)
            house.stop()
            printed += house.output.read_text(errors="replace")
        upstream = repr([(seen.target, seen.headers, seen.body) for seen in fake.requests])
    secrets = {
        "stored": STORED, "key": key[9:33], "revoked key": other[9:33], "unknown key": UNKNOWN[9:33],
        "password": PASSWORD, "session": session, "token": token.rpartition(".")[2][:32],
    }  # fmt: skip
    sinks = {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert {"snapshot.bin", "store.db", "store.directory.db"} <= set(sinks) and len(sinks) > 6
    sinks |= {"printed": printed.encode(), "answers": answers.encode(), "upstream": upstream.encode()}
    found = {(sink, name) for sink, content in sinks.items() for name in _holds(content, secrets)}
    assert found == {("upstream", "stored")}


def _run(house: Gateway, *arguments: str) -> str:
    done = house.run(*arguments)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout + done.stderr


def _used(house: Gateway, fake: Fake, key: str, token: str) -> tuple[str, str]:
    """Calls that end in every way, and log-ins. All answers, and a session's token."""
    told = []
    for headers in (
        {"authorization": f"Bearer {key}"}, {"authorization": f"Bearer {UNKNOWN}"}, {"x-api-key": token},
        {"authorization": f"Bearer {key}", "user-agent": key}, {"authorization": f"Bearer {token}"}, {"cookie": key},
    ):  # fmt: skip
        answer = httpx2.post(house.url + CHAT, json=ASK, headers=headers, timeout=10)
        told.append(f"{answer.status_code} {answer.headers} {answer.text}")
    assert told[0].startswith("200 ") and all(each.startswith("401 ") for each in told[1:]), told
    fake.respond(Answer(401, (("content-type", "application/json"),), f'{{"error":"bad key {STORED}"}}'.encode()))
    answer = httpx2.post(house.url + CHAT, json=ASK, headers={"authorization": f"Bearer {key}"}, timeout=10)
    assert answer.status_code == 502
    told.append(answer.text)
    fake.behave()
    address = f"{house.url}/api/v1/session"
    for password in ("wrong-" + PASSWORD, PASSWORD):
        answer = httpx2.post(
            address, json={"email": EMAIL, "password": password}, headers={"origin": house.url}, timeout=30
        )
        told.append(answer.text)
    assert answer.status_code in (200, 201), answer.text
    [session] = answer.cookies.values()
    mine = httpx2.get(f"{house.url}/api/v1/me", cookies=dict(answer.cookies), timeout=10)
    assert mine.status_code == 200
    return "\n".join([*told, mine.text]), session


def _administered(house: Gateway, token: str) -> str:
    """What every list says, to the owner and to nobody, and the metrics."""
    listed = httpx2.get(f"{house.url}/api/v1/openapi.json", headers={"authorization": f"Bearer {token}"}, timeout=10)
    paths = [path for path, item in listed.json()["paths"].items() if "get" in item and "{" not in path]
    assert {"/api/v1/keys", "/api/v1/credentials", "/api/v1/audit", "/api/v1/traces", "/api/v1/me"} <= set(paths)
    told = [listed.text]
    for headers in ({"authorization": f"Bearer {token}"}, {"authorization": f"Bearer {UNKNOWN}"}, {}):
        for path in [*paths, "/metrics"]:
            with httpx2.stream("GET", house.url + path, headers=headers, timeout=10) as answer:
                if answer.headers.get("content-type", "").startswith("text/event-stream"):
                    continue  # it has no end; each of its items is a trace
                told.append(f"{answer.headers} {answer.read().decode()}")
            assert answer.status_code < 500, f"{path}: {told[-1]}"
    return "\n".join(told)
