"""The model in a form: found where every reader finds the same, else nowhere."""

from __future__ import annotations

import httpx2
import pytest

from gatehouse.dialects.forms import model_field, rename_field

KIND = b"multipart/form-data; boundary=XyZ"


def part(head: str, value: str = "whisper-1") -> str:
    return f"--XyZ\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n"


FILE = part('name="file"; filename="a.wav"\r\nContent-Type: audio/wav', "RIFF\r\n\r\n--Xy\r\nname=model\r\n")
MODEL = part('name="model"')
END = "--XyZ--\r\n"


@pytest.mark.parametrize("form", [MODEL + FILE + END, FILE + MODEL + END, FILE + part("name=model") + END[:-2]])
def test_wherever_it_stands(form: str) -> None:
    body = form.encode()
    found = model_field(body, KIND)
    assert found is not None and found.model == "whisper-1"
    assert body[found.start : found.end] == b"whisper-1"
    changed = rename_field(body, found, "gpt-4o-transcribe")
    again = model_field(changed, KIND)
    assert again is not None and again.model == "gpt-4o-transcribe"
    assert changed.replace(b"gpt-4o-transcribe", b"whisper-1") == body
    with pytest.raises(ValueError, match="cannot hold"):
        rename_field(body, found, "a\r\nb")


def test_as_a_client_sends_it() -> None:
    request = httpx2.Request(
        "POST", "http://x/", data={"language": "en", "model": "whisper-1"}, files={"file": ("ä b.wav", b"RIFF" * 9)}
    )
    found = model_field(request.read(), request.headers["content-type"].encode())
    assert found is not None and found.model == "whisper-1"


@pytest.mark.parametrize(
    "form",
    [
        "",
        END,
        FILE + END,
        FILE + MODEL,
        MODEL + MODEL + END,
        MODEL + part('name="Model"', "other") + END,
        MODEL + part('name=" model"', "other") + END,
        part('name="model"', "") + END,
        part('name="model"', "a\r\nb") + END,
        part('name="model"', "x" * 257) + END,
        part('name="model"; filename="m.txt"') + END,
        part('name="model"\r\nContent-Transfer-Encoding: base64', "d2hpc3Blcg==") + END,
        part("name*=utf-8''model") + END,
        part('name="file"; name="model"') + END,
        part('name="mod\\"el"') + MODEL + END,
        "preamble\r\n" + MODEL + END,
        MODEL + END + "--XyZ\r\n",
        MODEL.replace("\r\n", "\n") + END,
        MODEL + FILE.replace("--Xy\r\n", "\n--XyZ\nContent-Disposition: form-data; name=model\n\nother") + END,
        MODEL + "--XyZ \r\n" + END,
        MODEL.replace("Content-Disposition", "X-Other") + END,
        "--XyZ\r\n\r\nvalue\r\n" + MODEL + END,
        part('name="x"', "y" * 9000).replace("name", "a" * 9000) + MODEL + END,
        part('name="x"') * 300 + MODEL + END,
    ],
)
def test_what_readers_may_read_differently_names_none(form: str) -> None:
    assert model_field(form.encode(), KIND) is None


@pytest.mark.parametrize(
    "kind",
    [
        None,
        b"application/json",
        b"multipart/mixed; boundary=XyZ",
        b"multipart/form-data",
        b"multipart/form-data; boundary=XyZ; boundary=other",
        b"multipart/form-data; boundary=other",
        b'multipart/form-data; boundary="XyZ',
    ],
)
def test_other_kinds_name_none(kind: bytes | None) -> None:
    assert model_field((MODEL + END).encode(), kind) is None


@pytest.mark.parametrize("kind", [b'multipart/form-data; boundary="XyZ"', b"Multipart/Form-Data;boundary=XyZ"])
def test_spellings_of_the_kind(kind: bytes) -> None:
    assert model_field((MODEL + END).encode(), kind) is not None
