"""What the page's code needs of a server, without one."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_engine import FakeEngine, FakeModels
from webui.runtime.runtime import Runtime
from webui.runtime.settings import Settings


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    root = tmp_path_factory.mktemp("runtime")
    settings = Settings(models_dir=root / "models", output_dir=root / "out", data_dir=root / "data")
    with Runtime(settings, functools.partial(FakeEngine, step_seconds=0.001), FakeModels()) as one:
        yield one


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Gradio keeps what the page uploads."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder
