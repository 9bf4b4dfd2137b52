"""What a user reads in the terminal."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import Any

import pytest

from webui.server.credentials import Credentials
from webui.server.front import OPEN_TO_ALL, Front
from webui.server.options import ServeOptions, add_serve_options
from webui.server.share import ShareState

NOBODY = Credentials({})
MADE_UP = Credentials({"atelier": "abcd-efgh"}, made_up=True)
LOG_IN = "Log in as atelier with the password abcd-efgh"


def options(*given: str) -> ServeOptions:
    parser = argparse.ArgumentParser()
    add_serve_options(parser)
    return ServeOptions.of(parser.parse_args(given))


def announced(front: Front, capsys: Any) -> list[str]:
    front.announce()
    return str(capsys.readouterr().out).splitlines()


def test_a_private_server_says_where_it_is_and_no_more(capsys: Any):
    assert announced(Front(options(), NOBODY, 7860), capsys) == ["Atelier is at http://127.0.0.1:7860 (Ctrl-C ends it)"]


def test_another_port_than_asked_for_is_told(capsys: Any):
    first, second = announced(Front(options(), NOBODY, 7861), capsys)
    assert first == "Port 7860 is taken by another program, so this is port 7861."
    assert second.startswith("Atelier is at http://127.0.0.1:7861")


def test_a_server_in_the_network_tells_its_made_up_password(capsys: Any):
    assert announced(Front(options("--listen", "127.0.0.1"), MADE_UP, 7860), capsys)[1:] == [LOG_IN]


def test_passwords_that_were_given_are_not_repeated(capsys: Any):
    given = Credentials({"ann": "apple"})
    assert len(announced(Front(options("--listen", "127.0.0.1"), given, 7860), capsys)) == 1


@pytest.mark.parametrize("way", [("--listen", "127.0.0.1"), ("--share",), ("--share-required",)])
def test_a_server_open_to_all_warns(way: tuple[str, ...], capsys: Any):
    assert announced(Front(options(*way, "--no-auth"), NOBODY, 7860), capsys)[1:] == [OPEN_TO_ALL]


def test_a_login_file_that_others_can_read_is_told(tmp_path: Path, capsys: Any):
    file = tmp_path / "users"
    file.write_text("ann:apple")
    file.chmod(0o644)
    line = announced(Front(options("--auth-file", str(file)), Credentials({"ann": "apple"}), 7860), capsys)[1]
    assert line == f"Warning: other users of this machine can read {file} (chmod 600 ends that)."


def test_a_link_is_told_with_its_password_and_stands_in_the_status(capsys: Any):
    front = Front(options("--share"), MADE_UP, 7860)
    assert front.status() == {"version": "0.1.0", "share": None, "share_problem": ""}
    front.tell_link(ShareState(url="https://abc.gradio.live"))
    assert capsys.readouterr().out.splitlines() == ["Public link: https://abc.gradio.live", LOG_IN]
    assert front.status()["share"] == "https://abc.gradio.live"
    front.tell_link(ShareState(problem="The public link broke.", final=True))
    assert capsys.readouterr().out == "The public link broke.\n"
    assert front.status() == {"version": "0.1.0", "share": None, "share_problem": "The public link broke."}


def test_the_browser_is_opened_when_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: Any):
    opened: list[str] = []
    done = threading.Event()
    monkeypatch.setattr("webui.server.front.webbrowser.open", lambda url: (opened.append(url), done.set()))
    announced(Front(options("--open-browser"), NOBODY, 7860), capsys)
    assert done.wait(10)
    assert opened == ["http://127.0.0.1:7860"]
