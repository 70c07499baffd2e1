"""`gatehouse login`: a platform token for oneself, by the sign-on provider in a browser, or by password.

Rules: the browser comes back to a loopback address of this process, with a code that is worth nothing without the
verifier this process made (RFC 8252, RFC 7636). The token goes to stdout or into a file of this user's own. A password
comes by prompt or from stdin, and goes to the gateway that was named and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import secrets
import sys
import threading
import webbrowser
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import click
import httpx2

from gatehouse.auth.roles import ROLES
from gatehouse.cli.client import checked
from gatehouse.cli.confidential import content
from gatehouse.cli.moments import SpanType
from gatehouse.config.paths import write_private
from gatehouse.config.printable import clean

PATIENCE: Final = 300.0
"""Seconds that somebody may take in the browser."""
_TIMEOUT: Final = httpx2.Timeout(30.0, connect=5.0)
_DONE: Final = b"You are signed in. You can close this page and go back to the terminal.\n"


@click.command(name="login")
@click.option("--url", required=True, help="The gateway: https, or http on this machine.")
@click.option("--email", help="Sign in by password, as whom; else by the sign-on provider, if there is one.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin's first line; else you are asked.")
@click.option(
    "--invitation",
    is_flag=True,
    help="Set a password by an invitation, which you are asked for, or stdin's first line.",
)
@click.option("--role", type=click.Choice(list(ROLES)), help="What the token may; else all that you may.")
@click.option("--ttl", type=SpanType(token=True), default="1h", show_default=True, help="How long it lives, 1m to 24h.")
@click.option("--token-file", metavar="FILE", help="Write the token there (0600), in place of stdout.")
@click.option("--no-browser", is_flag=True, help="Print the address to open, and open nothing.")
def command(
    url: str,
    role: str | None,
    ttl: int,
    token_file: str | None,
    **given: Any,
) -> int:
    """Sign in at a gateway and print a platform token, for `--token-file` of other commands."""
    base, local = checked(url)
    email, from_stdin = given["email"], given["password_stdin"]
    wanted = {"role": role, "ttl_seconds": ttl}
    try:
        with httpx2.Client(base_url=base, timeout=_TIMEOUT, trust_env=not local, follow_redirects=False) as client:
            if given["invitation"]:
                made = _by_invitation(client, base, from_stdin, wanted)
            elif email is None and _said(client.get("/api/v1/session"))["sso"]:
                made = _by_browser(client, base, wanted, open_it=not given["no_browser"])
            else:
                made = _by_password(client, base, email, from_stdin, wanted)
    except httpx2.HTTPError as error:
        raise click.ClickException(f"{base} cannot be reached: {str(error) or type(error).__name__}") from error
    token = str(made["token"])
    if token_file is None:
        click.echo(clean(token))
    else:
        try:
            write_private(Path(token_file), token.encode() + b"\n")
        except OSError as error:
            raise click.ClickException(f"cannot write {clean(token_file)}: {error.strerror}") from error
    return 0


def _by_password(
    client: httpx2.Client, base: str, email: str | None, from_stdin: bool, wanted: dict[str, Any]
) -> dict[str, Any]:
    if not from_stdin and not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked for the password here; give it by --password-stdin.")
    address = email or click.prompt("E-mail address", err=True)
    if from_stdin:
        password = content("-", "the password").partition("\n")[0].rstrip("\r")
    else:
        password = click.prompt("Password", hide_input=True, err=True)
    return _by_session(client, base, "/api/v1/session", {"email": address, "password": password}, wanted)


def _by_invitation(client: httpx2.Client, base: str, from_stdin: bool, wanted: dict[str, Any]) -> dict[str, Any]:
    if from_stdin:
        invitation, _, password = content("-", "the invitation").rstrip("\n").partition("\n")
    elif sys.stdin.isatty():
        invitation = click.prompt("Invitation", hide_input=True, err=True)
        password = click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise click.UsageError(
            "Nobody can be asked here; give the invitation and, on the next line, the new password by --password-stdin."
        )
    said = {"invitation": invitation.strip(), "password": password.rstrip("\r")}
    return _by_session(client, base, "/api/v1/invitation", said, wanted)


def _by_session(
    client: httpx2.Client, base: str, path: str, said: dict[str, str], wanted: dict[str, Any]
) -> dict[str, Any]:
    """A token by way of a session that what is `said` there opens, and that ends with it."""
    parts = urlsplit(base)
    headers = {"origin": f"{parts.scheme}://{parts.netloc}"}
    answer = client.post(path, json=said, headers=headers)
    _said(answer)
    # Not by the client's own jar: that keeps a `Secure` cookie from http on this machine.
    headers["cookie"] = "; ".join(line.partition(";")[0] for line in answer.headers.get_list("set-cookie"))
    client.cookies.clear()
    made = _said(client.post("/api/v1/auth/token", json=wanted, headers=headers))
    client.delete("/api/v1/session", headers=headers)
    return made


def _by_browser(client: httpx2.Client, base: str, wanted: dict[str, Any], *, open_it: bool) -> dict[str, Any]:
    verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(16)
    with _Listener(("127.0.0.1", 0), state) as listener:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "redirect": f"http://127.0.0.1:{listener.server_address[1]}/callback",
            "challenge": challenge,
            "state": state,
        }
        address = f"{base}/api/v1/sso/start?{urlencode(asked)}"
        click.echo(f"Sign in at:\n  {address}", err=True)
        if open_it:
            webbrowser.open(address)
        code = listener.code(PATIENCE)
    return _said(client.post("/api/v1/sso/token", json={"code": code, "verifier": verifier, **wanted}))


class _Listener(http.server.ThreadingHTTPServer):
    """Waits for the browser to come back."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], state: str) -> None:
        super().__init__(address, _Handler)
        self.state = state
        self.found: str | None = None
        self.refused = ""
        self.back = threading.Event()

    def code(self, seconds: float) -> str:
        """Raises `click.ClickException` if nobody comes."""
        serving = threading.Thread(target=self.serve_forever, daemon=True)
        serving.start()
        try:
            came = self.back.wait(seconds)
        finally:
            self.shutdown()
            serving.join()
        if self.refused:
            raise click.ClickException(self.refused)
        if not came or self.found is None:
            raise click.ClickException("nobody signed in in time; run the command again")
        return self.found


class _Handler(http.server.BaseHTTPRequestHandler):
    """Takes the code of a browser that comes with our state, or why there is none, and nothing else."""

    timeout = 10

    def do_GET(self) -> None:
        """One request."""
        listener = self.server
        parts = urlsplit(self.path)
        given = parse_qs(parts.query)
        state, code = given.get("state", [""])[0], given.get("code", [""])[0]
        refused = clean(given.get("error_description", given.get("error", [""]))[0])
        ours = isinstance(listener, _Listener) and hmac.compare_digest(state.encode(), listener.state.encode())
        if parts.path != "/callback" or not ours or not (code or refused):
            self.send_error(404)
            return
        said = _DONE if code else f"You are not signed in: {refused}\n".encode()
        self.send_response(200 if code else 403)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("content-length", str(len(said)))
        self.send_header("referrer-policy", "no-referrer")
        self.send_header("x-content-type-options", "nosniff")
        self.end_headers()
        self.wfile.write(said)
        if isinstance(listener, _Listener):
            listener.found, listener.refused = code or None, "" if code else refused
            listener.back.set()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the request holds the code."""


def _said(answer: httpx2.Response) -> dict[str, Any]:
    """What the API answered. Raises `click.ClickException` with its own sentence."""
    try:
        said = answer.json()
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise click.ClickException(f"what answers at {answer.url.copy_with(query=None)} is no management API")
    if answer.is_success:
        return said
    raise click.ClickException(clean(str(said.get("detail", f"status {answer.status_code}"))))
