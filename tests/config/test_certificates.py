"""Certificate files that cannot be used are named with their setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatehouse.config import certificates
from gatehouse.config.settings import Callouts, Provider, Server, Settings
from gatehouse.errors import ConfigError
from tests.cli.certificates import self_signed


def test_good_files_pass(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    self_signed(certificate, key)
    server = Server(tls_cert=str(certificate), tls_key=str(key))
    certificates.check(Settings(server=server, providers={"openai": Provider(ca_file=str(certificate))}))
    assert certificates.listener(server) is not None
    assert certificates.listener(Server()) is None


@pytest.mark.parametrize("content", [None, "nonsense"])
def test_each_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    bad = tmp_path / "bad.pem"
    if content is not None:
        bad.write_text(content)
    settings = Settings(
        server=Server(tls_cert=str(bad), tls_key=str(bad)),
        providers={"openai": Provider(ca_file=str(bad))},
        callouts=Callouts(ca_file=str(bad)),
    )
    with pytest.raises(ConfigError) as caught:
        certificates.check(settings)
    first, second, third = str(caught.value).splitlines()
    assert first.startswith("server.tls_cert and server.tls_key cannot be used: ") and str(bad) in first
    assert second.startswith("providers.openai.ca_file cannot be used: ") and str(bad) in second
    assert third.startswith("callouts.ca_file cannot be used: ") and str(bad) in third
