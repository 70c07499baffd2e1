"""Azure OpenAI's paths (T4): both forms, resource level, the v1 surface, and names that must not pass."""

from __future__ import annotations

import pytest

from gatehouse import errors
from gatehouse.config.settings import Provider
from gatehouse.errors import GatehouseError
from gatehouse.model.call import Origin
from tests.routing.routers import route, router, upstream_url

TABLE = router()
HOST = "https://my-resource.openai.azure.com"

FORMS = [
    # below /azure/my-resource, path sent, endpoint, deployment, model
    ("gpt-4o-deploy/chat/completions", "deployments/gpt-4o-deploy/chat/completions", "chat", "gpt-4o-deploy", None),
    (
        "gpt-4o-deploy/openai/deployments/gpt-4o/chat/completions",
        "deployments/gpt-4o-deploy/chat/completions",
        "chat",
        "gpt-4o-deploy",
        "gpt-4o",
    ),
    (
        "gpt-4o-deploy/deployments/gpt-4o/chat/completions",
        "deployments/gpt-4o-deploy/chat/completions",
        "chat",
        "gpt-4o-deploy",
        "gpt-4o",
    ),
    ("gpt-4o-deploy/openai/models", "models", "models", None, None),
    ("gpt-4o-deploy/openai/responses", "responses", "responses", None, None),
    ("gpt-4o-deploy/openai/files/f-1", "files/f-1", "files", None, None),
    ("d/openai/deployments/m/completions", "deployments/d/completions", "completions", "d", "m"),
    ("d/completions", "deployments/d/completions", "completions", "d", None),
    ("d/openai/v1/completions", "v1/completions", "completions", None, None),
    ("d/openai/v1/responses", "v1/responses", "responses", None, None),
    ("d/openai/v1/responses/resp_1", "v1/responses/resp_1", "other", None, None),
    ("d/openai/v1/moderations", "v1/moderations", "moderations", None, None),
    ("gpt-4o-deploy/openai/v1/chat/completions", "v1/chat/completions", "chat", None, None),
    ("gpt-4o-deploy/v1/chat/completions", "v1/chat/completions", "chat", None, None),
    ("openai/v1/responses", "v1/responses", "responses", None, None),
    ("openai/v1/v1/responses", "v1/responses", "responses", None, None),
    ("openai/models", "models", "models", None, None),
    ("openai/deployments/d/embeddings", "deployments/d/embeddings", "embeddings", "d", "d"),
    ("d/extensions/chat/completions", "deployments/d/extensions/chat/completions", "other", "d", None),
    ("d/audio/transcriptions", "deployments/d/audio/transcriptions", "transcription", "d", None),
    ("d", "deployments/d", "other", "d", None),
    ("openai/operations/images/1", "operations/images/1", "other", None, None),
]


@pytest.mark.parametrize(("below", "sent", "endpoint", "deployment", "model"), FORMS)
@pytest.mark.parametrize("prefix", ["/azure", "/trueportai-services/azure"])
def test_forms(prefix: str, below: str, sent: str, endpoint: str, deployment: str | None, model: str | None) -> None:
    found = route(TABLE, f"{prefix}/my-resource/{below}")
    assert upstream_url(found) == f"{HOST}/openai/{sent}"
    assert (found.endpoint, found.deployment, found.model) == (endpoint, deployment, model)
    assert (found.provider, found.dialect, found.prefix) == ("azure", "openai", "/azure/my-resource")


@pytest.mark.parametrize(
    "resource", ["My-Resource", "-r", "r_x", "a" * 64, "r.evil.example", "evil.example:443", "r@evil", "%61"]
)
def test_a_resource_is_a_plain_name(resource: str) -> None:
    """I3: the host never comes from the request beyond one plain label."""
    with pytest.raises(GatehouseError, match="resource name") as caught:
        TABLE.resolve(b"POST", f"/azure/{resource}/d/chat/completions", "", [])
    assert caught.value.kind is errors.BAD_REQUEST


@pytest.mark.parametrize("path", ["/azure", "/azure/", "/azure/my-resource", "/azure/my-resource/"])
def test_a_resource_alone_is_no_route(path: str) -> None:
    with pytest.raises(GatehouseError, match=r"/azure/\{resource\}/\{deployment\}") as caught:
        TABLE.resolve(b"GET", path, "", [])
    assert caught.value.kind is errors.NOT_FOUND


def test_a_fixed_base_url_replaces_the_host() -> None:
    table = router(azure=Provider(base_url="http://127.0.0.1:9004/fake"))
    found = route(table, "/azure/my-resource/d/chat/completions")
    assert upstream_url(found) == "http://127.0.0.1:9004/fake/openai/deployments/d/chat/completions"


def test_own_templates() -> None:
    table = router(azure_gov=Provider(base_url="https://{resource}.openai.azure.us:8443"))
    found = route(table, "/azure-gov/agency-1/d/chat/completions")
    assert found.origin == Origin("https", "agency-1.openai.azure.us", 8443)
    assert found.path == "/openai/deployments/d/chat/completions"
