"""`gatehouse login`: by password, and by a real sign-on provider through a loopback redirect (RFC 8252)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import IO

import httpx2

from gatehouse.config.settings import Callouts, Sso, SsoRole
from tests.cli.conftest import Cli
from tests.cli.served import served
from tests.control import sign_on
from tests.control.doors import OWNER, PASSWORD, URL


def _login(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gatehouse", "login", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _me(url: str, token: str) -> dict[str, object]:
    with httpx2.Client(trust_env=False) as client:
        found: dict[str, object] = client.get(f"{url}/api/v1/me", headers={"authorization": f"Bearer {token}"}).json()
        return found


def test_by_password(tmp_path: Path) -> None:
    with served(tmp_path) as (url, made):
        file = tmp_path / "token"
        arguments = ("--url", url, "--email", OWNER, "--password-stdin", "--role", "viewer", "--ttl", "10m")
        done = _login(*arguments, "--token-file", str(file))
        out, err = done.communicate(f"{PASSWORD}\n", timeout=30)
        assert (done.returncode, out) == (0, ""), err
        assert file.stat().st_mode & 0o777 == 0o600
        me = _me(url, file.read_text().strip())
        assert (me["kind"], me["email"]) == ("token", OWNER)
        assert made.said("auth.logout")  # the session was for this alone
        wrong = _login(*arguments)
        out, err = wrong.communicate("wrong wrong wrong\n", timeout=30)
        assert (wrong.returncode, out) == (1, "")
        assert err == "Error: the e-mail address or the password is wrong\n"


def test_by_an_invitation(tmp_path: Path) -> None:
    """Who was invited has no password yet, and needs no page of ours to set one."""
    with served(tmp_path) as (url, _):
        owner = _login("--url", url, "--email", OWNER, "--password-stdin")
        token = owner.communicate(f"{PASSWORD}\n", timeout=30)[0].strip()
        with httpx2.Client(base_url=f"{url}/api/v1", headers={"authorization": f"Bearer {token}"}) as client:
            made = client.post("/users", json={"email": "bob@example.com", "role": "developer"}).json()
        invited = _login("--url", url, "--invitation", "--password-stdin")
        out, err = invited.communicate(f"{made['invitation']}\nbattery staple correct\n", timeout=30)
        assert invited.returncode == 0, err
        assert _me(url, out.strip())["email"] == "bob@example.com"
        again = _login("--url", url, "--invitation", "--password-stdin")
        assert again.communicate(f"{made['invitation']}\nbattery staple correct\n", timeout=30)[0] == ""
        assert again.returncode == 1
        known = _login("--url", url, "--email", "bob@example.com", "--password-stdin")
        known.communicate("battery staple correct\n", timeout=30)
        assert known.returncode == 0


@sign_on.needed
def test_by_the_sign_on_provider_in_a_browser(tmp_path: Path) -> None:
    with sign_on.provider() as issuer:
        roles = (SsoRole(value="engineering", role="developer"),)
        sso = Sso(issuer=issuer, client_id="gatehouse", scopes=("openid", "email", "profile", "groups"), roles=roles)
        with served(tmp_path, sso=sso, callouts=Callouts(private=(issuer,)), public_url=URL) as (url, _):
            waiting = _login("--url", url, "--no-browser")
            try:
                assert waiting.stderr is not None
                _browse(url, _address(waiting.stderr))
                out, err = waiting.communicate(timeout=30)
            finally:
                waiting.kill()
            assert waiting.returncode == 0, err
            assert (_me(url, out.strip())["email"], _me(url, out.strip())["role"]) == ("ada@corp.example", "developer")


@sign_on.needed
def test_whom_the_gateway_does_not_let_in_is_told_at_once(tmp_path: Path) -> None:
    """In the terminal and in the browser: nobody waits for what will not come."""
    with sign_on.provider() as issuer:
        sso = Sso(issuer=issuer, client_id="gatehouse", scopes=("openid", "email", "profile", "groups"))
        with served(tmp_path, sso=sso, callouts=Callouts(private=(issuer,)), public_url=URL) as (url, _):
            waiting = _login("--url", url, "--no-browser")
            try:
                assert waiting.stderr is not None
                _browse(url, _address(waiting.stderr), "guest", 403)
                out, err = waiting.communicate(timeout=30)
            finally:
                waiting.kill()
            assert (waiting.returncode, out) == (1, "")
            assert "no role here follows" in err and "sso.default_role" in err


def test_what_it_does_not_do(cli: Cli) -> None:
    for arguments, says in (
        (("--url", "http://gateway.example"), "another machine"),
        (("--url", "ftp://x"), "no http or https URL"),
        (("--url", "https://x", "--ttl", "soon"), "no span (30m"),
    ):
        done = cli("login", *arguments)
        assert (done.code, says in done.err) == (2, True), done.err
    gone = cli("login", "--url", "http://127.0.0.1:9")
    assert (gone.code, "cannot be reached" in gone.err) == (1, True)


def _address(said: IO[str]) -> str:
    """Where to sign in, as the command says."""
    for _ in range(10):
        found = re.fullmatch(r"  (http://\S+)\n", said.readline())
        if found:
            return found[1]
    raise AssertionError("the command names no address")


def _browse(url: str, address: str, who: str = "ada", answered: int = 200) -> None:
    """As a browser that somebody logs in with at the provider, all the way to the command's own address."""
    with httpx2.Client(trust_env=False, follow_redirects=False, timeout=10) as browser:
        start = browser.get(address)
        cookie = start.headers["set-cookie"].partition(";")[0]
        back = sign_on.logged_in(start.headers["location"], who)
        on = browser.get(url + sign_on.path_of(back), headers={"cookie": cookie})
        assert on.status_code == 303, on.text
        stranger = browser.get(on.headers["location"].replace("state=", "state=x"))
        assert stranger.status_code == 404
        assert browser.get(on.headers["location"]).status_code == answered
