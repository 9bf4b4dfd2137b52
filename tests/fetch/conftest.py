"""Servers that stand in for other machines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fetch.stand_in import StandIn, stand_in


@pytest.fixture
def far() -> Iterator[StandIn]:
    with stand_in() as one:
        yield one


@pytest.fixture
def other() -> Iterator[StandIn]:
    """A second one, under another name."""
    with stand_in() as one:
        yield one
