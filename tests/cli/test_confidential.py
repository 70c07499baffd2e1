"""Secrets come from files and stdin; nothing of them is in an error."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from gatehouse.cli.confidential import LIMIT, content, given, read, secret


def test_a_secret_is_read_as_its_kind_has_it(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("  sk-planted\n")
    assert secret(str(file), "api_key") == "sk-planted"
    file.write_text('{"client_email": "a@b", "private_key": "planted"}')
    assert secret(str(file), "google_service_account") == {"client_email": "a@b", "private_key": "planted"}


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("", "api_key", "is empty"),
        (" \n", "aws_keys", "is empty"),
        ("planted", "aws_keys", "is a JSON object"),
        ('["planted"]', "aws_keys", "is a JSON object"),
        ('{"planted": ', "aws_keys", "is a JSON object"),
    ],
)
def test_what_is_no_secret(text: str, kind: str, says: str) -> None:
    with pytest.raises(click.UsageError, match=says) as caught:
        read(text, kind)
    assert "planted" not in caught.value.message and caught.value.__cause__ is None


def test_files_that_cannot_hold_one(tmp_path: Path) -> None:
    large, binary = tmp_path / "large", tmp_path / "binary"
    large.write_text("x" * (LIMIT + 1))
    binary.write_bytes(b"\xff\xfeplanted")
    for file, says in ((large, "more than 64 KiB"), (binary, "no UTF-8"), (tmp_path, "Is a directory")):
        with pytest.raises(click.UsageError, match=says) as caught:
            content(str(file), "the secret")
        assert "planted" not in caught.value.message


def test_a_token_is_the_files_first_line(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("abc.def.ghi \nrest\n")
    assert given("token", None, str(file)) == "abc.def.ghi"
    assert given("token", None, None) is None
    for wrong in ("", "a b", "a\x1b", "ü"):
        with pytest.raises(click.UsageError, match="empty or holds characters"):
            given("token", wrong, None)
