"""No test leaves the code of its extensions to the next one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ext.studio import Studio
from tests.support import write_tiny_checkpoint
from webui.checkpoints.catalogue import Catalogue
from webui.engine.devices import place
from webui.engine.models import Models
from webui.ext.loader import Loader


@pytest.fixture(autouse=True)
def _no_code_is_left() -> Iterator[None]:
    _forget()
    yield
    _forget()


def _forget() -> None:
    for finder in [finder for finder in sys.meta_path if isinstance(finder, Loader)]:
        finder.close()


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one tiny random checkpoint in it."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_checkpoint(folder / "Stable-diffusion" / "tiny.safetensors", seed=1)
    return folder


@pytest.fixture(scope="session")
def kept_models(tiny_models: Path) -> Models:
    """What is loaded of that folder, kept from test to test."""
    return Models(Catalogue(tiny_models), place("cpu"))


@pytest.fixture
def studio(kept_models: Models, tmp_path: Path) -> Studio:
    return Studio(kept_models, tmp_path)
