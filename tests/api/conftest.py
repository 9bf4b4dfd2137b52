"""The application's client, as in the tests of the server, on a server with an extension and a control model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.server.conftest import Clients, client
from tests.steered import steered_runtime
from webui.runtime.runtime import Runtime

__all__ = ["client"]


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    with steered_runtime(tmp_path) as one:
        yield one


@pytest.fixture
def one(client: Clients) -> TestClient:
    """A client that is nobody in particular."""
    return client()
