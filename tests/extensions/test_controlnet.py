"""What the units of the extension ControlNet compute by themselves: CLIP's pictures, references, colours that stay."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil

from tests.extensions.support import ROOT, cloud
from webui.ext.loader import Loader
from webui.schema.control import BALANCED, CONTROL, PROMPT


@pytest.fixture
def part() -> Iterator[Any]:
    """Gives a module of the extension."""
    loader = Loader()
    main = loader.load("controlnet", ROOT / "controlnet", "main")
    yield lambda name: loader.module(main, name)
    loader.close()


@pytest.mark.parametrize(
    ("height", "width"), [(224, 224), (300, 411), (97, 64), (49, 50), (71, 142), (165, 110), (1, 3)]
)
@pytest.mark.parametrize("side", [224, 32])
def test_clip_is_shown_the_picture_that_its_own_processor_makes(part: Any, height: int, width: int, side: int) -> None:
    picture = cloud(height, width)
    square = {"height": side, "width": side}
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=square)
    wanted = processor(Image.fromarray(picture), return_tensors="np")["pixel_values"][0]
    assert np.allclose(part("vision").prepared(picture, side), wanted, atol=1e-5)


def test_attentions_are_ranked_from_the_widest_on_and_those_below_the_weight_act(part: Any) -> None:
    widths = {"fine": 8, "coarse": 32, "middle": 16, "other coarse": 32}
    written = {name: torch.zeros(1, 4, width) for name, width in widths.items()}
    assert part("reference").ranks(written) == {"coarse": 0, "other coarse": 0.25, "middle": 0.5, "fine": 0.75}


@pytest.mark.parametrize(
    ("mode", "family", "hires", "given", "wanted"),
    [
        (BALANCED, "sd1", False, {}, 0.5),
        (BALANCED, "sd1", False, {"fidelity": 0.2}, 0.2),
        (BALANCED, "sdxl", False, {"fidelity": 0.2}, 0.008),
        (CONTROL, "sdxl", True, {"fidelity": 0.2}, 1.0),
        (PROMPT, "sd1", False, {"fidelity": 0.9}, 0.0),
        (BALANCED, "sd1", True, {"fidelity": 0.9}, 0.0),
        (BALANCED, "sdxl", True, {"fidelity": 1.0}, 1.0),
    ],
)
def test_style_fidelity_follows_mode_family_and_pass(
    part: Any, mode: str, family: str, hires: bool, given: dict[str, float], wanted: float
) -> None:
    unit = SimpleNamespace(settings=SimpleNamespace(mode=mode, params=given), hires=hires)
    assert part("reference").fidelity_of(unit, family) == pytest.approx(wanted)


PEAK = torch.zeros(1, 3, 3)
PEAK[0, 1, 1] = 9.0
"""Its mean over 3 x 3, the rim repeated, is 1 everywhere: each window has the peak once."""


def fixed(colorfix: ModuleType, told: list[tuple[Tensor, Tensor]], hires: bool = False, **unit: Any) -> Tensor:
    """PEAK with the colours of a picture whose latent is 4 everywhere."""
    given = {"weight": 1.0, "variation": 1, "region": None, "acts": True, **unit}
    one = SimpleNamespace(
        settings=SimpleNamespace(weight=given["weight"], params={"variation": given["variation"]}),
        region=given["region"], hires=hires, active=lambda step, steps: given["acts"],
        tell=lambda step, change, state: told.append((change, state)),
    )  # fmt: skip
    kept = colorfix.Kept([(one, torch.full((1, 3, 3), 4.0))])
    return colorfix.fixed(SimpleNamespace(denoised=PEAK, step=0, steps=4, state=lambda _kind: kept))


def test_the_mean_colours_of_a_prediction_become_those_of_the_picture(part: Any) -> None:
    colorfix, told = part("colorfix"), []
    assert torch.allclose(fixed(colorfix, told), PEAK - 1 + 4)
    ((change, state),) = told
    assert torch.allclose(change, torch.full((1, 3, 3), 3.0))
    assert torch.equal(state, PEAK)
    assert torch.allclose(fixed(colorfix, told, weight=0.5), PEAK + 1.5)
    assert torch.equal(fixed(colorfix, told, acts=False), PEAK)


def test_in_the_hires_pass_colours_are_held_over_areas_twice_as_wide(part: Any) -> None:
    # over 5 x 5 with the rim repeated each window of this picture has the peak once
    assert torch.allclose(fixed(part("colorfix"), [], hires=True), PEAK - 9 / 25 + 4)


def test_colours_change_in_the_units_region_alone(part: Any) -> None:
    region = torch.tensor([0.0, 0.5, 1.0]).expand(1, 1, 3, 3)
    wanted = PEAK + torch.tensor([0.0, 1.5, 3.0])
    assert torch.allclose(fixed(part("colorfix"), [], region=region), wanted)
