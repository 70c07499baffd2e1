"""A credential is stored for one origin, which comes from the provider's entry (I3, T4)."""

from __future__ import annotations

import pytest

from gatehouse.config.settings import Provider, Settings
from gatehouse.providers.entries import entries
from gatehouse.providers.origins import credential_origin
from gatehouse.routing.azure import azure_origin

FOUND = entries(Settings(providers={"gov": Provider(base_url="https://{resource}.openai.azure.us:8443")}))


def test_origins() -> None:
    assert str(credential_origin(FOUND["openai"], None)) == "https://api.openai.com"
    assert str(credential_origin(FOUND["azure"], "my-resource")) == "https://my-resource.openai.azure.com"
    assert str(credential_origin(FOUND["gov"], "a")) == "https://a.openai.azure.us:8443"


@pytest.mark.parametrize("resource", ["my-resource", "0", "a" * 63])
def test_it_is_where_calls_go(resource: str) -> None:
    assert credential_origin(FOUND["azure"], resource) == azure_origin(FOUND["azure"], resource)


@pytest.mark.parametrize(
    ("provider", "resource", "said"),
    [
        ("openai", "x", "has no resources"),
        ("azure", None, "is for one resource"),
        ("azure", "", "a resource name"),
        ("azure", "evil.example/", "a resource name"),
        ("azure", "A", "a resource name"),
        ("azure", "-a", "a resource name"),
        ("azure", "a" * 64, "a resource name"),
        ("azure", "a\n", "a resource name"),
        ("azure", "{resource}", "a resource name"),
    ],
)
def test_what_is_no_resource(provider: str, resource: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        credential_origin(FOUND[provider], resource)
