"""Tokens stay with their host, private machines are asked only where that is allowed, and nothing is asked offline."""

from __future__ import annotations

import ipaddress
import socket
import urllib.error

import pytest

from tests.fetch.stand_in import Served, StandIn
from webui.fetch import web as module
from webui.fetch.errors import Address, Denied, Offline
from webui.fetch.web import Web, is_private, shown, tokens_of_environment

HERE = Web(private=True)


def test_offline_asks_nobody(far: StandIn):
    with pytest.raises(Offline, match="told to stay offline"):
        Web(private=True, offline=True).open(f"{far.url}/file")
    assert far.asked == []


def test_a_token_goes_to_its_host_and_to_no_other(far: StandIn, other: StandIn):
    far.files["/file"] = Served(to=f"http://localhost:{other.port}/stored", token="secret")
    other.files["/stored"] = Served(b"data")
    with Web(private=True, tokens={"127.0.0.1": "secret"}).open(f"{far.url}/file") as answer:
        assert answer.read() == b"data"
    assert far.asked[0].headers["authorization"] == "Bearer secret"
    assert "authorization" not in other.asked[0].headers


def test_a_token_is_given_again_where_a_host_leads_to_itself(far: StandIn):
    far.files["/old"] = Served(to="/new", token="secret")
    far.files["/new"] = Served(b"data", token="secret")
    with Web(private=True, tokens={"127.0.0.1": "secret"}).open(f"{far.url}/old") as answer:
        assert answer.read() == b"data"


def test_without_a_token_the_cure_says_how_to_give_one(far: StandIn):
    far.files["/file"] = Served(b"data", token="secret")
    with pytest.raises(Denied, match=r"does not give this file to everybody.*HF_TOKEN.*CIVITAI_TOKEN"):
        HERE.open(f"{far.url}/file")


def test_a_redirect_to_another_kind_of_address_is_not_followed(far: StandIn):
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        far.files["/file"] = Served(to=target)
        with pytest.raises((Address, urllib.error.HTTPError)):
            HERE.open(f"{far.url}/file")


def test_private_machines_are_not_asked_from_afar(far: StandIn):
    for url in (
        far.url,
        f"http://localhost:{far.port}",
        f"https://[::ffff:127.0.0.1]:{far.port}",
        "https://10.0.0.1/x",
    ):
        with pytest.raises(Address, match="private network"):
            Web().open(f"{url}/file")
    assert far.asked == []


def test_a_name_that_changes_its_mind_leads_nowhere(far: StandIn, monkeypatch: pytest.MonkeyPatch):
    answers = [["93.184.216.34"], ["127.0.0.1"]]

    def resolve(host: str, port: int, strict: bool = False) -> list[object]:
        return [ipaddress.ip_address(text) for text in answers.pop(0)]

    monkeypatch.setattr(module, "_resolved", resolve)
    with pytest.raises(Address, match="private network"):
        Web(plain=True).open(f"http://rebinds.example:{far.port}/file")
    assert (far.asked, answers) == ([], [])


def test_plain_http_is_for_machines_of_the_own_network_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_resolved", lambda *_given, **_named: [ipaddress.ip_address("93.184.216.34")])
    for web in (Web(), HERE):
        with pytest.raises(Address, match="not encrypted"):
            web.check("http://example.org/file")
    Web().check("https://example.org/file")
    Web(plain=True).check("http://example.org/file")


@pytest.mark.parametrize("url", ["ftp://example.org/x", "https://", "example.org/x", "https://me:secret@127.0.0.1/x"])
def test_other_addresses_are_none(url: str):
    with pytest.raises(Address, match="is no address") as caught:
        HERE.check(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("ip", "private"),
    [
        ("127.0.0.1", True), ("10.1.2.3", True), ("169.254.169.254", True), ("0.0.0.0", True), ("100.64.0.1", True),
        ("224.0.0.1", True), ("::1", True), ("fe80::1", True), ("fc00::1", True), ("::ffff:10.0.0.1", True),
        ("64:ff9b::7f00:1", True), ("2002:7f00:1::", True), ("93.184.216.34", False), ("64:ff9b::5db8:d822", False),
        ("2606:4700::1111", False),
    ],
)  # fmt: skip
def test_private_addresses_are_known_however_they_are_written(ip: str, private: bool):
    assert is_private(ipaddress.ip_address(ip)) is private


def test_a_public_connection_is_made_to_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], *_rest: object) -> socket.socket:
        asked.append(address)
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(module, "_resolved", lambda *_given, **_named: [ipaddress.ip_address("93.184.216.34")])
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(urllib.error.URLError):
        Web().open("https://example.org/file")
    assert asked == [("93.184.216.34", 443)]


def test_what_is_told_of_an_address_has_no_secret_in_it():
    assert (
        shown("https://me:pass@civitai.com/api/download/1?token=secret&x=1#y") == "https://civitai.com/api/download/1"
    )


def test_tokens_of_the_environment_belong_to_their_hosts():
    said = {"HF_TOKEN": "one", "CIVITAI_API_TOKEN": "two", "HF_ENDPOINT": "https://mirror.example"}
    assert tokens_of_environment(said) == {"huggingface.co": "one", "civitai.com": "two", "mirror.example": "one"}
    assert tokens_of_environment({}) == {}
    assert "secret" not in repr(Web(tokens={"civitai.com": "secret"}))
