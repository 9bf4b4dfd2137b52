"""A server that stands in for the hub and for others, and an empty folder of models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fetch.stand_in import StandIn, stand_in
from webui.checkpoints.places import Places


@pytest.fixture
def far() -> Iterator[StandIn]:
    with stand_in() as one:
        yield one


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "models")
