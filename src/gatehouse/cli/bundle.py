"""`gatehouse debug ID --bundle PATH`: one call as a file to hand on: a tar.gz with a manifest of sizes and SHA-256.

Rules: the same record gives the same bytes (names in order, no times or owners of this machine); the file is made anew,
0600, never over another; bodies go in only if asked for. Nothing in it is a secret: the record holds hashes of keys,
and no setting goes in. What is inside is documented in `docs/cli.md`.
"""

from __future__ import annotations

import gzip
import io
import os
import platform
import sys
import tarfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from gatehouse import __version__
from gatehouse.cli.difference import Side
from gatehouse.config.printable import clean
from gatehouse.journal.excerpt import Excerpt, excerpt
from gatehouse.journal.lines import JournalError
from gatehouse.model.record import RECORD_VERSION
from gatehouse.store.views import Body, Trace

VERSION: Final = 1
"""Of the bundle's layout."""


class Bundled(NamedTuple):
    """What was written."""

    size: int
    files: int
    notes: list[str]


def write(path: Path, side: Side, journal: Path, *, bodies: bool) -> Bundled:
    """Write the bundle of one call. Raises `click.ClickException`; then nothing is left at `path`."""
    notes: list[str] = []
    files = dict(_files(side, journal, notes, bodies=bodies))
    packed = _packed({**files, "manifest.json": _manifest(side.trace, files, notes)}, f"gatehouse-{side.trace.id}")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise click.ClickException(f"cannot create {clean(str(path))}: {error.strerror}") from error
    try:
        with open(descriptor, "wb") as file:
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise click.ClickException(f"cannot write {clean(str(path))}: {error.strerror}") from error
    return Bundled(len(packed), len(files) + 1, notes)


def _files(side: Side, journal: Path, notes: list[str], *, bodies: bool) -> Iterator[tuple[str, bytes]]:
    yield "call.json", _json(side.trace)
    yield "versions.json", _json(_versions(side.trace))
    excerpts = list(_excerpts(side.trace, journal, notes))
    if excerpts:
        yield "journal.jsonl", b"".join(each.line + b"\n" for each in excerpts)
        yield "journal-places.json", _json([_place(each) for each in excerpts])
    if bodies:
        for name, body in (("request", side.request), ("response", side.response)):
            if body is None:
                notes.append(f"the {name} was not captured (capture.bodies)")
            else:
                yield f"{name}.body", body.data
                yield f"{name}.json", _json(_described(body))


def _excerpts(trace: Trace, journal: Path, notes: list[str]) -> Iterator[Excerpt]:
    places = {(each.lane, each.seq) for each in (trace.decision_record, trace.outcome_record) if each is not None}
    for lane, seq in sorted(places):
        try:
            yield excerpt(journal, lane, seq)
        except (JournalError, OSError) as error:
            notes.append(f"line {seq} of lane {lane} is missing: {_short(error, journal)}")


def _short(error: Exception, journal: Path) -> str:
    """Without the path of this machine."""
    return str(error).replace(f"{journal}{os.sep}", "")


def _place(found: Excerpt) -> dict[str, Any]:
    names = ("lane", "seq", "kind", "hash", "line_no")
    # Compressing a segment changes neither its lines nor this.
    return {**{name: getattr(found, name) for name in names}, "file": found.file.removesuffix(".gz")}


def _versions(trace: Trace) -> dict[str, Any]:
    return {
        "gatehouse": __version__,
        "record": RECORD_VERSION,
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": sys.platform,
        "machine": platform.machine(),
        "price_table": trace.price_version,
        "snapshot": trace.snapshot,
    }


def _described(body: Body) -> dict[str, Any]:
    return {
        "content_type": body.content_type,
        "content_encoding": body.content_encoding,
        "size": body.size,
        "captured": len(body.data),
        "truncated": body.truncated or len(body.data) < body.size,
    }


def _manifest(trace: Trace, files: Mapping[str, bytes], notes: list[str]) -> bytes:
    listed = [
        {"path": name, "size": len(content), "sha256": sha256(content).hexdigest()}
        for name, content in sorted(files.items())
    ]
    return _json({"v": VERSION, "call": trace.id, "files": listed, "notes": notes})


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _packed(files: Mapping[str, bytes], folder: str) -> bytes:
    """A tar.gz, the same for the same content: no times, no owners."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(archive.getvalue(), mtime=0)
