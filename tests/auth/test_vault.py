"""Provider secrets at rest: what is sealed for one use opens for no other (I3)."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.fernet import Fernet

from gatehouse.auth.secrets import ApiKey, EntraClient, Kept, Token
from gatehouse.auth.vault import Binding, Vault, VaultError, binding_of
from gatehouse.errors import ConfigError
from gatehouse.model.access import CredentialEntry

KEYS = [Fernet.generate_key() for _ in range(3)]
BINDING = Binding("ten_1", "crd_1", "openai", "https://api.openai.com")
PLANTED = "sk-planted-0123456789"


def test_what_is_sealed_opens_for_its_binding() -> None:
    vault = Vault(KEYS[:1])
    sealed = vault.seal(BINDING, ApiKey(PLANTED))
    assert PLANTED.encode() not in sealed
    assert sealed != vault.seal(BINDING, ApiKey(PLANTED))
    assert vault.open(BINDING, sealed, (ApiKey,)) == ApiKey(PLANTED)


@pytest.mark.parametrize("field", ["tenant", "credential", "provider", "origin"])
def test_a_copy_in_another_row_does_not_open(field: str) -> None:
    vault = Vault(KEYS[:1])
    sealed = vault.seal(BINDING, ApiKey(PLANTED))
    other = msgspec.structs.replace(BINDING, **{field: "elsewhere"})
    with pytest.raises(VaultError, match=f"{other.credential} was stored for {field} .* not elsewhere") as caught:
        vault.open(other, sealed, (ApiKey,))
    assert PLANTED not in str(caught.value)


def test_what_tokens_are_fetched_with_never_opens_as_a_token() -> None:
    """Else an entry pointed at the wrong column would send a client secret to the provider as a bearer token."""
    vault = Vault(KEYS[:1])
    source = EntraClient("contoso", "client", PLANTED)
    sealed = vault.seal(BINDING, source)
    with pytest.raises(VaultError, match="another kind \\(EntraClient\\)"):
        vault.open(BINDING, sealed, (Token,))
    assert vault.open(BINDING, sealed, (EntraClient,)) == source


def test_tampered_foreign_and_broken() -> None:
    vault, other = Vault(KEYS[:1]), Vault(KEYS[1:2])
    sealed = vault.seal(BINDING, ApiKey(PLANTED))
    for wrong in (sealed[:-4] + b"AAA=", b"x", sealed[1:]):
        with pytest.raises(VaultError, match="none of the master keys opens the secret of credential crd_1"):
            vault.open(BINDING, wrong, (Kept,))
    with pytest.raises(VaultError, match="none of the master keys"):
        other.open(BINDING, sealed, (Kept,))
    for content in (b"\x01", msgspec.msgpack.encode([2, BINDING, {"type": "api_key", "key": PLANTED}])):
        with pytest.raises(VaultError, match="sealed by another version") as caught:
            vault.open(BINDING, Fernet(KEYS[0]).encrypt(content), (Kept,))
        assert PLANTED not in str(caught.value)
        assert caught.value.__cause__ is None


def test_rotation_of_the_master_key() -> None:
    old, both, new = Vault([KEYS[0]]), Vault([KEYS[1], KEYS[0]]), Vault([KEYS[1]])
    sealed = old.seal(BINDING, ApiKey(PLANTED))
    assert both.open(BINDING, sealed, (ApiKey,)).key == PLANTED
    moved = both.rotate("crd_1", sealed)
    assert new.open(BINDING, moved, (ApiKey,)).key == PLANTED
    with pytest.raises(VaultError, match="crd_1"):
        old.open(BINDING, moved, (ApiKey,))
    with pytest.raises(VaultError, match="crd_1"):
        new.rotate("crd_1", sealed)


def test_a_key_that_is_none() -> None:
    with pytest.raises(ValueError, match="Fernet key"):
        Vault([b"short"])


def entry(number: int, sealed: bytes) -> CredentialEntry:
    return CredentialEntry(f"crd_{number}", "ten_1", "openai", "https://api.openai.com", "api_key", sealed)


def test_the_check_before_serving_names_credentials() -> None:
    vault = Vault(KEYS[:1])
    good = [entry(number, b"") for number in range(5)]
    good = [msgspec.structs.replace(each, sealed=vault.seal(binding_of(each), ApiKey(PLANTED))) for each in good]
    vault.check(good)
    vault.check([entry(7, b"")])
    with pytest.raises(VaultError, match="nothing is stored yet for credential crd_7"):
        vault.open(binding_of(entry(7, b"")), b"", (Kept,))
    Vault([KEYS[1], KEYS[0]]).check(good)
    with pytest.raises(ConfigError) as caught:
        Vault([KEYS[1]]).check(good)
    assert str(caught.value).startswith("stored provider secrets cannot be opened: none of the master keys opens")
    assert "crd_2" in str(caught.value)
    assert str(caught.value).endswith("; and 2 more")
    swapped = [msgspec.structs.replace(good[0], sealed=good[1].sealed)]
    with pytest.raises(ConfigError, match="crd_0 was stored for credential crd_1, not crd_0"):
        vault.check(swapped)
