"""The server as a user starts it: what it says, whom it lets in, and how it ends."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
# Nothing listens there: whatever wants to go out is refused at once.
NO_WAY_OUT = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


class Server:
    """A server process and the lines it has written."""

    def __init__(self, folder: Path, *options: str, **variables: str) -> None:
        self.folder = folder
        folders = [f"--{name}-dir={folder / name}" for name in ("models", "output", "data")]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), variables.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "tests.server.start", *folders, *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, pattern: str, seconds: float = 90.0) -> re.Match[str]:
        """The first line that matches."""

        def find() -> re.Match[str] | None:
            return next(filter(None, (re.search(pattern, line) for line in self.lines)), None)

        with self._news:
            self._news.wait_for(lambda: find() or self._ended, seconds)
            found = find()
            assert found is not None, self.lines
            return found

    def url(self) -> str:
        return self.wait_for(r"Atelier is at (http://\S+)")[1]

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=30)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers, at any free port unless one is given; all with the same folders unless told otherwise."""
    running: list[Server] = []

    def one(*options: str, folder: str = "house", **variables: str) -> Server:
        port = () if any(option.startswith("--port") for option in options) else ("--port=0",)
        running.append(Server(tmp_path / folder, *port, *options, **variables))
        return running[-1]

    yield one
    for server in running:
        server.process.kill()
        server.process.wait()


def test_it_serves_draws_and_ends_without_torch_and_without_asking_the_network(start: Start, tmp_path: Path):
    log = tmp_path / "connections"
    watched = {"WATCH_LOG": str(log), "PYTHONPATH": str(Path(__file__).parent / "watched")}
    server = start(**watched)
    url = server.url()
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        page = client.get("/").text
        for asset in sorted(set(re.findall(r'(?:src|href)="(\./[^"]+)"', page))):
            assert client.get(asset.removeprefix(".")).status_code == 200, asset
        job = client.post("/api/v1/jobs", json={"kind": "txt2img", "prompt": "a ball", "steps": 2}).json()["id"]
        with client.stream("GET", f"/api/v1/jobs/{job}/events") as stream:
            assert '"state":"done"' in list(stream.iter_lines())[-2]
    assert server.end() == 0
    assert server.lines == ["Atelier 0.1.0 is starting.", f"Atelier is at {url} (Ctrl-C ends it)", "Stopped."]
    tried = [ast.literal_eval(line) for line in log.read_text().splitlines()] if log.exists() else []
    assert [where for where in tried if where[0] not in ("127.0.0.1", "::1", "localhost")] == []


def test_the_watch_over_connections_sees_them_and_lets_nobody_import_torch(tmp_path: Path):
    log = tmp_path / "connections"
    environment = {**os.environ, "WATCH_LOG": str(log), "PYTHONPATH": str(Path(__file__).parent / "watched")}
    program = "import socket; socket.socket().connect_ex(('127.0.0.1', 9)); import torch"
    answer = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert "torch is not for the web process" in answer.stderr
    assert log.read_text() == "('127.0.0.1', 9)\n"


def test_it_ends_although_pages_are_open_and_jobs_run(start: Start):
    server = start()
    with httpx.Client(base_url=server.url(), trust_env=False, timeout=60) as client:
        job = client.post("/api/v1/jobs", json={"kind": "txt2img", "prompt": "hang@1", "steps": 2}).json()["id"]
        with client.stream("GET", f"/api/v1/jobs/{job}/events") as stream:
            next(stream.iter_lines())
            assert server.end(signal.SIGTERM) == 0
    assert server.lines[2:] == ["Stopped."]


def test_a_body_without_end_is_cut_off_and_others_are_served_meanwhile(start: Start):
    server = start()
    url = server.url()
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            assert sent < 1000
            sent += 1
            if sent == 20:
                assert httpx.get(f"{url}/api/v1/status", trust_env=False).status_code == 200
            yield bytes(1 << 20)

    headers = {"content-type": "application/json"}
    try:
        answer = httpx.post(f"{url}/api/v1/jobs", content=endless(), headers=headers, trust_env=False, timeout=60)
        assert answer.status_code == 413
    except httpx.WriteError:  # the connection was closed before the client looked for an answer
        pass
    assert 40 <= sent < 200
    assert httpx.get(f"{url}/api/v1/status", trust_env=False).status_code == 200


def test_a_second_server_for_the_same_data_is_refused_and_a_taken_port_is_told(start: Start):
    first = start()
    port = first.url().rpartition(":")[2]
    second = start(f"--port={port}")
    second.wait_for("is in use by another server")
    assert second.process.wait(timeout=30) == 1
    assert len(second.lines) == 2
    third = start(f"--port={port}", folder="elsewhere")
    assert third.url() != first.url()
    assert third.wait_for(f"Port {port} is taken by another program, so this is port ")


def test_a_server_in_the_network_makes_up_a_password_and_wants_it(start: Start):
    server = start("--listen", "127.0.0.1")
    user, password = server.wait_for(r"Log in as (\S+) with the password (\S+)").groups()
    with httpx.Client(base_url=server.url(), trust_env=False, timeout=60) as client:
        assert client.get("/api/v1/status").status_code == 401
        assert client.get("/api/v1/status", auth=(user, password)).json()["user"] == "atelier"
        assert client.get("/", headers={"host": "evil.example"}).status_code == 421


def test_without_login_in_the_network_the_risk_is_named(start: Start):
    server = start("--listen", "127.0.0.1", "--no-auth")
    server.wait_for("Warning: there is no login. Anybody who can reach this address")
    assert httpx.get(f"{server.url()}/api/v1/status", trust_env=False).json()["user"] == "local"


def test_a_link_that_cannot_be_had_is_told_in_the_terminal_and_on_the_page(start: Start):
    server = start("--share", ATELIER_AUTH="ann:apple", **NO_WAY_OUT)
    url = server.url()
    server.wait_for(r"There is no public link: api.gradio.app cannot be reached \(.*The page on this machine goes on\.")
    status = httpx.get(f"{url}/api/v1/status", auth=("ann", "apple"), trust_env=False).json()
    assert status["share"] is None
    assert status["user"] == "ann"
    assert not any("apple" in line for line in server.lines)
    assert status["share_problem"].startswith("There is no public link: api.gradio.app cannot be reached")


def test_a_link_that_is_required_and_cannot_be_had_ends_the_server(start: Start):
    server = start("--share-required", **NO_WAY_OUT)
    assert server.process.wait(timeout=90) == 3
    server.wait_for("There is no public link: api.gradio.app cannot be reached")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--prot=1"], "unrecognized arguments: --prot=1 (--help lists the options)"),
        (["--port=many"], "argument --port: invalid int value: 'many' (--help lists the options)"),
        (["--no-auth", "--auth=a:b"], "--no-auth and users with passwords exclude each other. Give one of the two."),
        (["--share-server=x"], "--share-server is written host:port, not 'x'. For example: example.org:7000"),
    ],
)
def test_a_wrong_option_gets_one_line(start: Start, options: list[str], told: str):
    server = start(*options)
    assert server.process.wait(timeout=60) == 2
    server.wait_for(re.escape(f"launch.py: {told}"))
    assert len(server.lines) == 1


def test_a_data_folder_that_cannot_be_written_is_told(start: Start, tmp_path: Path):
    (tmp_path / "file").write_text("")
    server = start(f"--data-dir={tmp_path / 'file' / 'data'}")
    assert server.process.wait(timeout=60) == 1
    server.wait_for("The data folder .* cannot be used: Not a directory")
