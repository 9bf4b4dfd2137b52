"""What references change in an attention, and what they tell of it, against a second writing of the same rules."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.extensions.support import ROOT
from tests.nn.weights import draw
from webui.ext.loader import Loader

IS_COND = (True, False)


@pytest.fixture
def reference() -> Iterator[ModuleType]:
    loader = Loader()
    main = loader.load("controlnet", ROOT / "controlnet", "main")
    yield loader.module(main, "reference")
    loader.close()


class Given:
    """A reference that acts, as `read` sees it."""

    is_cond = IS_COND

    def __init__(self, seed: int, fidelity: float = 0.0, region: Tensor | None = None, coarsest: bool = True) -> None:
        self.written = draw(2, 5, 6, seed=seed)
        self.fidelity = fidelity
        self.region = region
        self.coarsest = coarsest
        self.told: list[tuple[Tensor, Tensor]] = []

    def bank(self, name: str) -> Tensor:
        return self.written

    def tokens(self, name: str, x: Tensor) -> Any:
        return self.region

    def measures(self, name: str) -> bool:
        return self.coarsest

    def tell(self, name: str, change: Tensor, plain: Tensor) -> None:
        if self.coarsest:
            self.told.append((change, plain))


def attend(x: Tensor, context: Tensor) -> Tensor:
    return torch.softmax(x @ context.transpose(1, 2), dim=-1) @ context


def plainly(x: Tensor, *references: Given) -> Tensor:
    """Row by row: rows of the prompt see everything; the others see it less, the higher the fidelity."""
    fidelity = max((one.fidelity for one in references), default=0.0)
    rows = []
    for row, cond in enumerate(IS_COND):
        own = x[row : row + 1]
        seen = attend(own, torch.cat([own, *(one.written[row : row + 1] for one in references)], dim=1))
        alone = attend(own, own)
        rows.append(seen if cond else fidelity * alone + (1 - fidelity) * seen)
    return torch.cat(rows)


@pytest.mark.parametrize("fidelity", [0.0, 0.5, 1.0])
def test_each_reference_tells_what_would_be_missing_without_it(reference: ModuleType, fidelity: float) -> None:
    x = draw(2, 4, 6, seed=1)
    one, other = Given(2, fidelity), Given(3)
    out = reference.read([one, other], "attn1", attend, x, x)
    assert torch.allclose(out, plainly(x, one, other), atol=1e-6)
    for told, rest in ((one, other), (other, one)):
        ((change, plain),) = told.told
        assert torch.allclose(plain, plainly(x, rest), atol=1e-6)
        assert torch.allclose(change, plainly(x, one, other) - plainly(x, rest), atol=1e-6)


def test_a_reference_with_a_region_changes_what_the_others_made_there(reference: ModuleType) -> None:
    x, region = draw(2, 4, 6, seed=1), torch.tensor([0.0, 1.0, 0.5, 0.0])[None, :, None]
    whole, part = Given(2), Given(3, region=region)
    out = reference.read([part, whole], "attn1", attend, x, x)
    change = region * (plainly(x, whole, part) - plainly(x, whole))
    assert torch.allclose(out, plainly(x, whole) + change, atol=1e-6)
    ((told, plain),) = part.told
    assert torch.allclose(told, change, atol=1e-6)
    assert torch.allclose(plain, plainly(x, whole), atol=1e-6)


def test_only_the_coarsest_attentions_are_measured(reference: ModuleType) -> None:
    x = draw(2, 4, 6, seed=1)
    fine = Given(2, coarsest=False)
    reference.read([fine], "attn1", attend, x, x)
    assert fine.told == []
