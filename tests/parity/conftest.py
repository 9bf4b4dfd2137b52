"""Shrunk models with random weights, each made once for all tests of whole passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.parity.pipelines import Case, case_of

Cases = Callable[[str], Case]


@pytest.fixture(scope="package")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """A family by its name in `PUBLISHED`, as diffusers has it and as we have loaded it."""
    made: dict[str, Case] = {}

    def find(name: str) -> Case:
        if name not in made:
            made[name] = case_of(name, tmp_path_factory.mktemp("models"))
        return made[name]

    return find


@pytest.fixture(scope="module", params=["sd15", "sd21", "sdxl"])
def case(request: pytest.FixtureRequest, cases: Cases) -> Case:
    """SD 1.x, SD 2.x (v-prediction) and SDXL."""
    return cases(request.param)
