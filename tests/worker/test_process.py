"""A worker under `gatehouse serve`: TLS on both sides, health, the grace time."""

from __future__ import annotations

import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests import fakes
from tests.fakes.server import Misbehaviour
from tests.running import gateway

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
KEY = {"authorization": "Bearer sk-of-the-caller"}
CHAT = "/openai/v1/chat/completions"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=IP:127.0.0.1,DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    yield cert, key


def test_tls_on_either_side(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(cert, key)
    with fakes.openai(tls=serving) as fake:
        config = {
            "server": {"tls_cert": str(cert), "tls_key": str(key)},
            "providers": {"openai": {"base_url": fake.url, "ca_file": str(cert)}, "groq": {"base_url": fake.url}},
        }
        with gateway(config) as running:
            assert running.url.startswith("https://")
            with (
                httpx2.Client(verify=ssl.create_default_context(cafile=str(cert))) as client,
                running.recorded(2) as seen,
            ):
                good = client.post(running.url + CHAT, json=ASK, headers=KEY)
                assert good.status_code == 200
                # Another provider at the same address, without the certificate authority: not believed.
                bad = client.post(running.url + "/groq/v1/chat/completions", json=ASK, headers=KEY)
                assert bad.status_code == 502 and "certificate" in bad.json()["detail"]
            assert len(fake.requests) == 1
            assert sorted(record.outcome["outcome"] for record in seen) == ["ok", "upstream_error"]


def test_sigterm_lets_running_streams_finish_within_the_grace_time() -> None:
    with fakes.openai() as fake:
        fake.misbehave(Misbehaviour(slow=0.1))
        with gateway({"providers": {"openai": {"base_url": fake.url}}}) as running:
            received: list[bytes] = []

            def read() -> None:
                with httpx2.stream("POST", running.url + CHAT, json=ASK | {"stream": True}, headers=KEY) as response:
                    received.extend(response.iter_bytes())

            reader = threading.Thread(target=read)
            reader.start()
            fake.wait(1)
            assert running.stop(signal.SIGTERM) == 0
            reader.join(10)
            assert b"".join(received).endswith(b"data: [DONE]\n\n")
            (record,) = running.journal.records().values()
            assert record.outcome["outcome"] == "ok"


def test_beyond_the_grace_time_they_are_interrupted() -> None:
    with fakes.openai() as fake:
        fake.misbehave(Misbehaviour(silent=True))
        config = {"server": {"grace_seconds": 0.2}, "providers": {"openai": {"base_url": fake.url}}}
        with gateway(config) as running:
            answers: list[int] = []

            def ask() -> None:
                answers.append(httpx2.post(running.url + CHAT, json=ASK, headers=KEY, timeout=20).status_code)

            asker = threading.Thread(target=ask)
            asker.start()
            fake.wait(1)
            assert running.stop(signal.SIGTERM) == 0
            asker.join(10)
            assert answers == [503]
            (record,) = running.journal.records().values()
            assert record.outcome["outcome"] == "interrupted"


def test_health_of_the_worker_itself() -> None:
    with gateway() as running:
        for path in ("/health/live", "/health/ready"):
            assert running.get_json(path) == {"status": "healthy"}
