from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import write_tiny_checkpoint
from webui.checkpoints.load import LoadedModel, load_checkpoint


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedModel]:
    """A tiny model of a family, loaded anew each time: its weights are views into the file."""
    folder = tmp_path_factory.mktemp("tiny")

    def load(family: str = "sd1") -> LoadedModel:
        path: Path = folder / f"{family}.safetensors"
        if not path.exists():
            write_tiny_checkpoint(path, family)
        return load_checkpoint(path)

    return load
