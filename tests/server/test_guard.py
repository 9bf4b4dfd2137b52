"""Requests that the user's own page did not make are refused, whatever lies behind the guard."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.server.asgi import Reply, ask
from webui.server.guard import BODY_LIMIT, MEBI, UPLOAD_LIMIT, Guard, Message, Receive, Scope, Send
from webui.server.hosts import Hosts

HERE = ("host", "127.0.0.1:7860")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the whole body and tells what it saw. It is as careless as an application can be."""
    length, message = 0, await receive()
    while message["type"] == "http.request":
        length += len(message["body"])
        if not message["more_body"]:
            break
        message = await receive()
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    kind = headers.get("x-wanted-type", "application/json").encode()
    leave = [(b"Access-Control-Allow-Origin", b"*"), (b"access-control-allow-credentials", b"true")]
    reply = [(b"content-type", kind), *leave]
    await send({"type": "http.response.start", "status": 200, "headers": reply})
    await send({"type": "http.response.body", "body": json.dumps({"length": length, "headers": headers}).encode()})


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
def guard(hosts: Hosts) -> Guard:
    return Guard(echo, hosts)


def with_headers(guard: Guard, *headers: tuple[str, str], method: str = "GET", path: str = "/") -> Reply:
    return ask(guard, method, path, [HERE, *headers])


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860"])
def test_this_machine_by_its_own_names_is_answered(guard: Guard, host: str):
    assert ask(guard, headers=[("host", host)]).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "localhost:80:80", "127.0.0.1 evil", "[::1",
        "evil.example:7860", "localhost.", "0.0.0.0:7860", "192.168.1.5", "localhost@evil.example", "2130706433",
    ],
)  # fmt: skip
def test_another_name_for_this_machine_is_refused(guard: Guard, host: str):
    assert ask(guard, headers=[("host", host)]).status == 421


def test_no_host_or_two_of_them_are_refused(guard: Guard):
    assert ask(guard, headers=[]).status == 421
    assert ask(guard, headers=[HERE, HERE]).status == 421
    assert ask(guard, headers=[HERE, ("host", "evil.example")]).status == 421


def test_a_server_that_listens_to_the_network_answers_addresses_and_given_names():
    guard = Guard(echo, Hosts(["studio.local", "Art.Example"], any_address=True))
    for host in ("192.168.1.5:7860", "[fe80::1]:7860", "studio.local", "art.example:443"):
        assert ask(guard, headers=[("host", host)]).status == 200
    for host in ("evil.example", "192.168.1.5.nip.io", "x.art.example"):
        assert ask(guard, headers=[("host", host)]).status == 421


def test_a_public_host_is_answered_while_its_tunnel_is_open(guard: Guard, hosts: Hosts):
    public = [("host", "abc.gradio.live")]
    assert ask(guard, headers=public).status == 421
    hosts.set_public("abc.gradio.live")
    assert ask(guard, headers=public).status == 200
    hosts.set_public()
    assert ask(guard, headers=public).status == 421


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "origin",
    [
        "null", "http://evil.example", "http://localhost:8000", "https://127.0.0.1.evil.example", "http://127.0.0.1",
        "127.0.0.1:7860", "file://", "http://127.0.0.1:78600", "",
    ],
)  # fmt: skip
def test_a_page_of_another_origin_is_refused(guard: Guard, method: str, origin: str):
    assert with_headers(guard, ("origin", origin), method=method).status == 403


def test_two_origins_are_refused(guard: Guard):
    here = ("origin", "http://127.0.0.1:7860")
    assert with_headers(guard, here).status == 200
    assert with_headers(guard, here, here).status == 403


def test_a_proxy_that_hides_the_host_needs_its_name_to_be_given():
    headers = [HERE, ("origin", "https://art.example")]
    assert ask(Guard(echo, Hosts()), "POST", headers=headers).status == 403
    assert ask(Guard(echo, Hosts(["art.example"])), "POST", headers=headers).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("mode", ["no-cors", "cors", "navigate"])
@pytest.mark.parametrize("destination", ["image", "iframe", "object", "empty", "script"])
def test_what_another_site_embeds_is_refused(guard: Guard, site: str, mode: str, destination: str):
    headers = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", destination)]
    assert with_headers(guard, *headers).status == 403


def test_a_link_from_another_site_opens_the_page_but_a_form_sends_nothing(guard: Guard):
    headers = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]
    assert with_headers(guard, *headers).status == 200
    assert with_headers(guard, *headers, method="POST").status == 403


def test_a_program_that_is_no_browser_is_let_through(guard: Guard):
    assert with_headers(guard, method="POST").status == 200


def test_a_body_too_long_is_refused_by_its_announcement(guard: Guard):
    assert with_headers(guard, ("content-length", str(BODY_LIMIT))).status == 200
    assert with_headers(guard, ("content-length", str(BODY_LIMIT + 1))).status == 413
    assert with_headers(guard, ("content-length", str(UPLOAD_LIMIT)), path="/gradio_api/upload").status == 200
    assert with_headers(guard, ("content-length", str(UPLOAD_LIMIT + 1)), path="/gradio_api/upload").status == 413
    assert with_headers(guard, ("content-length", "-1")).status == 413


def test_a_body_too_long_that_comes_in_pieces_is_refused(hosts: Hosts):
    guard = Guard(echo, hosts, body_limit=10 * MEBI)
    piece = bytes(MEBI)
    assert ask(guard, "POST", body=[piece] * 10).json()["length"] == 10 * MEBI
    answer = ask(guard, "POST", body=[piece] * 11)
    assert answer.status == 413
    assert answer.json()["message"] == "This is larger than 10 MiB."


@pytest.mark.parametrize("headers", [[HERE], [], [HERE, ("origin", "null")], [HERE, ("content-length", "999999999")]])
def test_every_answer_carries_the_security_headers(guard: Guard, headers: list[tuple[str, str]]):
    answer = ask(guard, headers=headers)
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("x-frame-options") == "DENY"
    assert answer.header("referrer-policy") == "same-origin"
    assert "frame-ancestors 'none'" in answer.header("content-security-policy")
    assert answer.header("cross-origin-resource-policy") == "same-origin"


def test_no_other_site_is_given_leave_to_read(guard: Guard):
    assert not [name for name, _value in with_headers(guard).headers if name.lower().startswith(b"access-control")]


def test_uploaded_files_are_no_pages(guard: Guard):
    page = with_headers(guard, ("x-wanted-type", "text/html"), path="/gradio_api/file=/cache/x.html")
    assert page.header("content-security-policy").startswith("sandbox;")
    assert page.header("content-disposition") == "attachment"
    picture = with_headers(guard, ("x-wanted-type", "image/png"), path="/gradio_api/file=/cache/x.png")
    assert picture.header("content-disposition") == ""


def test_nobody_but_a_known_proxy_names_the_address_of_the_page(guard: Guard, hosts: Hosts):
    forged = [("x-forwarded-host", "evil.example"), ("x-gradio-server", "http://evil.example")]
    seen = with_headers(guard, *forged).json()["headers"]
    assert "x-forwarded-host" not in seen
    assert "x-gradio-server" not in seen
    known = ask(Guard(echo, Hosts(["art.example"])), headers=[HERE, ("x-forwarded-host", "art.example")])
    assert known.json()["headers"]["x-forwarded-host"] == "art.example"


def test_what_comes_through_the_tunnel_is_https(guard: Guard, hosts: Hosts):
    hosts.set_public("abc.gradio.live")
    headers = [("host", "abc.gradio.live"), ("x-forwarded-proto", "http")]
    assert ask(guard, headers=headers).json()["headers"]["x-forwarded-proto"] == "https"


def test_websockets_are_refused(guard: Guard):
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    asyncio.run(guard({"type": "websocket", "path": "/", "headers": [(b"host", b"127.0.0.1")]}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
