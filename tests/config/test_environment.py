"""Every key can be set by a variable; a variable that means nothing is an error."""

from __future__ import annotations

import pytest

from gatehouse.config import environment, schema
from gatehouse.config.settings import ModelPrice, Provider, RouteTimeouts, Settings
from gatehouse.errors import ConfigError
from tests.config.loading import load


def refused(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(None, environ)
    return str(caught.value).splitlines()


def test_each_kind_of_value() -> None:
    settings = load(
        None,
        {
            "GATEHOUSE_SERVER__PORT": "9000",
            "GATEHOUSE_SERVER__GRACE_SECONDS": "2.5",
            "GATEHOUSE_SERVER__PUBLIC_URL": "https://gw.example",
            "GATEHOUSE_SERVER__ALLOWED_HOSTS": "a.example, b.example",
            "GATEHOUSE_SERVER__TRUSTED_PROXIES": "[10.0.0.0/8]",
            "GATEHOUSE_CAPTURE__BODIES": "true",
            "GATEHOUSE_JOURNAL__DURABILITY": "disk",
            "GATEHOUSE_PROVIDERS__OPENAI__BASE_URL": "http://127.0.0.1:9001",
            "GATEHOUSE_PROVIDERS__MY_OWN_VLLM__BASE_URL": "http://127.0.0.1:9002",
            "GATEHOUSE_PROVIDERS__MY_OWN_VLLM__ASK_USAGE": "false",
            "GATEHOUSE_ROUTES": "[{match: '/openai/*', idle: 900}]",
            "GATEHOUSE_PRICES__MODELS": "[{provider: my-own-vllm, model: '*', input: 0.10}]",
            "GATEHOUSE_DATA": "/data",
            "GATEHOUSE_CONFIG": "/x.yaml",
            "PATH": "/bin",
        },
    )
    assert (settings.server.port, settings.server.grace_seconds) == (9000, 2.5)
    assert settings.server.public_url == "https://gw.example"
    assert settings.server.allowed_hosts == ("a.example", "b.example")
    assert settings.server.trusted_proxies == ("10.0.0.0/8",)
    assert settings.capture.bodies
    assert settings.journal.durability == "disk"
    assert settings.providers == {
        "openai": Provider(base_url="http://127.0.0.1:9001"),
        "my-own-vllm": Provider(base_url="http://127.0.0.1:9002", ask_usage=False),
    }
    assert settings.routes == (RouteTimeouts(match="/openai/*", idle=900),)
    assert settings.prices.models == (ModelPrice(provider="my-own-vllm", model="*", input="0.10"),)


def test_text_is_taken_as_it_is() -> None:
    environ = {
        "GATEHOUSE_DATABASE__URL": "sqlite:///a: b#c.db",
        "GATEHOUSE_SERVER__TLS_CERT": "",
        "GATEHOUSE_SERVER__TLS_KEY": "null",
    }
    settings = load(None, environ)
    assert settings.database.url == "sqlite:///a: b#c.db"
    assert (settings.server.tls_cert, settings.server.tls_key) == (None, None)


def test_every_key_outside_lists_has_a_variable_that_sets_it() -> None:
    """Proved on the default's own text, so that a new key cannot be forgotten."""
    for path, field in schema.walk(Settings):
        name = environment.variable(path)
        if field.shape != "value" or name is None or schema.NAME in path:
            continue
        default = field.default
        text = (
            ",".join(default) if isinstance(default, tuple) else str(default).lower() if default is not None else "null"
        )
        assert load(None, {name: text}) == Settings(), name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GATEHOUSE_SERVER__PROT", "is no setting; did you mean GATEHOUSE_SERVER__PORT?"),
        ("GATEHOUSE_SERVER_PORT", "is no setting; did you mean GATEHOUSE_SERVER__PORT?"),
        ("GATEHOUSE_SERVER__PORT__X", "is no setting; did you mean GATEHOUSE_SERVER__PORT?"),
        (
            "GATEHOUSE_PROVIDERS__OPENAI__BASEURL",
            "is no setting; did you mean GATEHOUSE_PROVIDERS__OPENAI__BASE_URL?",
        ),
        ("GATEHOUSE_KEY", "is no setting; names are GATEHOUSE_<SECTION>__<KEY>, see docs/configuration.md"),
        ("GATEHOUSE_", "is no setting; names are GATEHOUSE_<SECTION>__<KEY>, see docs/configuration.md"),
        ("GATEHOUSE_SERVER", "server: is a section; name a key in it, such as GATEHOUSE_SERVER__HOST"),
        (
            "GATEHOUSE_PROVIDERS",
            "providers: is a section; name a key in it, such as GATEHOUSE_PROVIDERS__<NAME>__BASE_URL",
        ),
        (
            "GATEHOUSE_PROVIDERS__X",
            "providers.x: is a section; name a key in it, such as GATEHOUSE_PROVIDERS__X__BASE_URL",
        ),
    ],
)
def test_names_that_mean_nothing(name: str, message: str) -> None:
    assert refused({name: "1"}) == [f"{name}: {message}"]


def test_wrong_values_name_the_variable_and_the_key() -> None:
    assert refused(
        {
            "GATEHOUSE_SERVER__PORT": "",
            "GATEHOUSE_SERVER__INSECURE": "1",
            "GATEHOUSE_ROUTES": "[{match: /a",
            "GATEHOUSE_LIMITS__CONNECTIONS": "[1]",
        }
    ) == [
        "GATEHOUSE_ROUTES: routes: expected ',' or '}', but got '<stream end>' (while parsing a flow mapping)",
        "GATEHOUSE_LIMITS__CONNECTIONS: limits.connections: is a list; must be a whole number, 1 or more",
        "GATEHOUSE_SERVER__INSECURE: server.insecure: is `1`; must be true or false",
        "GATEHOUSE_SERVER__PORT: server.port: is empty; must be a whole number from 0 to 65535",
    ]
