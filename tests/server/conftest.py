"""A whole application over a fake engine, asked in this process."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.fake_engine import FakeEngine, FakeModels
from webui.runtime.runtime import Runtime
from webui.runtime.settings import Settings
from webui.server.auth import Login
from webui.server.environment import prepare
from webui.server.hosts import Hosts
from webui.server.passwords import Users
from webui.server.sessions import Sessions

BASE = "http://127.0.0.1:7860"
prepare(Path(tempfile.mkdtemp(prefix="atelier-tests-")))  # before anything here imports Gradio


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    folders: dict[str, Any] = {f"{name}_dir": tmp_path / name for name in ("models", "output", "data")}
    engine = functools.partial(FakeEngine, step_seconds=0.002)
    with Runtime(Settings(**folders), engine, FakeModels()) as one:
        yield one


Clients = Callable[..., TestClient]


@pytest.fixture
def client(runtime: Runtime, tmp_path: Path) -> Iterator[Clients]:
    """Starts the application and gives a client for it. page: a small one, unless given. users: with their passwords;
    none: no login."""
    import gradio as gr

    from webui.server.app import Faces, build_app
    from webui.ui.page import mount_options

    def small_page() -> gr.Blocks:
        with gr.Blocks(analytics_enabled=False) as page:
            gr.Textbox("small")
        return page

    opened: list[TestClient] = []

    def start(page: Any = None, **users: str) -> TestClient:
        login = None
        if users:
            sessions = Sessions(tmp_path / "sessions.json")
            login = Login(Users(tmp_path / "users.json", users), sessions, "atelier_x")
        faces = Faces(runtime, page or small_page(), mount_options(), Hosts(), login)
        one = TestClient(build_app(faces), BASE, raise_server_exceptions=False, follow_redirects=False)
        opened.append(one)
        return one.__enter__()

    yield start
    for one in opened:
        one.__exit__(None, None, None)


def cache_folder() -> Path:
    return Path(os.environ["GRADIO_TEMP_DIR"])
