"""No test leaves the code of its extensions to the next one."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from webui.ext.loader import Loader


@pytest.fixture(autouse=True)
def _no_code_is_left() -> Iterator[None]:
    _forget()
    yield
    _forget()


def _forget() -> None:
    for finder in [finder for finder in sys.meta_path if isinstance(finder, Loader)]:
        finder.close()
