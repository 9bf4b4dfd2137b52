"""What is not masked stays the picture's own: by hand on small masks, and in a job on a tiny random model."""

from __future__ import annotations

import io
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.control.test_drawing import PLAIN, Drawing, png, ref
from tests.control.test_drawing import drawing as drawing
from tests.extensions.support import module
from webui.control.geometry import fit
from webui.schema.control import ControlUnit
from webui.schema.requests import Inpaint, Txt2Img


@pytest.fixture
def code() -> Iterator[ModuleType]:
    with module("inpaint") as main:
        yield main


def mask_of(height: int, width: int, *points: tuple[int, int]) -> Tensor:
    """(1 1 h w), 1 at these (y, x)."""
    mask = torch.zeros(1, 1, height, width)
    for y, x in points:
        mask[0, 0, y, x] = 1
    return mask


def test_a_cell_of_the_latent_is_drawn_where_it_or_a_pixel_beside_it_is_masked(code: ModuleType) -> None:
    # cells of 8 x 8 pixels; the pixel (8, 15) lies at the upper and the right rim of the cell (1, 1)
    wanted = torch.tensor([[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0.0]])
    assert torch.equal(code.widened(mask_of(24, 32, (8, 15)), (3, 4))[0, 0], wanted)
    assert code.widened(mask_of(24, 32, (11, 11)), (3, 4)).sum() == 1


def test_the_rim_is_one_at_the_mask_and_gone_seven_pixels_away(code: ModuleType) -> None:
    line = code.softened(mask_of(40, 40, *((y, 20) for y in range(40))))[0, 0]
    wanted = torch.tensor([7, 6, 5, 4, 3, 2, 1, 0, 0]) / 7
    for row in (0, 17, 39):
        assert torch.allclose(line[row, 20:29], wanted, atol=1e-6)
        assert torch.allclose(line[row, 12:21].flip(0), wanted, atol=1e-6)


def test_what_a_network_sees_as_minus_one_is_filled_with_the_mean_of_the_rest(code: ModuleType) -> None:
    mask = mask_of(1, 4, (0, 3))
    image = torch.tensor([0.0, 0.3, 0.6, -1.0]).expand(1, 3, 1, 4)
    filled = code.filled(SimpleNamespace(image=image, mask=mask))
    assert torch.allclose(filled[0, 0], torch.tensor([0.0, 0.3, 0.6, 0.3]))


def test_a_prediction_gets_the_pictures_latent_by_its_share(code: ModuleType) -> None:
    unit = SimpleNamespace(active=lambda step, steps: step == 1)
    kept = code.Kept([(unit, torch.full((2, 1, 3), 4.0), torch.tensor([[[0.0, 0.5, 1.0]]]))])
    denoised = torch.full((2, 1, 3), 2.0)

    def after(step: int) -> Tensor:
        return code.after_cfg(SimpleNamespace(denoised=denoised, step=step, steps=2, state=lambda _kind: kept))

    assert torch.equal(after(1), torch.tensor([[2.0, 3.0, 4.0]] * 2)[:, None])
    assert torch.equal(after(0), denoised)


def test_pixels_are_the_pictures_own_beyond_the_rim_and_the_drawn_ones_at_the_mask(code: ModuleType) -> None:
    hint = SimpleNamespace(image=torch.full((1, 3, 30, 30), 0.25), mask=mask_of(30, 30, (15, 15)))
    drawn = torch.full((3, 32, 30), 0.75)
    made = code.composed(drawn, hint, None)
    assert (made[:, 15, 15] == 0.75).all()
    assert (made[:, :9] == 0.25).all()
    assert (made[:, 30:] == 0.75).all()
    region = torch.zeros(1, 1, 30, 30)
    assert torch.equal(code.composed(drawn, hint, region), drawn)


PICTURE = png(72, 48)


def mask_bytes() -> bytes:
    """A square of 12 x 12 pixels in the middle."""
    mask = Image.new("L", (72, 48))
    mask.paste(255, (30, 18, 42, 30))
    data = io.BytesIO()
    mask.save(data, "PNG")
    return data.getvalue()


def masked(drawing: Drawing, **unit: object) -> np.ndarray:
    """A picture (48 72 3) by a unit whose picture is masked in the middle."""
    masks = mask_bytes()
    images = {ref(file).sha256: file for file in (PICTURE, masks)}
    given = {"image": ref(PICTURE), "mask": ref(masks), "model": "edges_inpaint", **unit}
    (made,) = drawing.run(Txt2Img(**PLAIN, control=(ControlUnit(**given),)), images)
    return np.frombuffer(made, np.uint8).reshape(48, 72, 3)


def test_inpaint_only_draws_in_the_mask_and_keeps_the_rest_of_the_units_picture(drawing: Drawing) -> None:
    own = np.asarray(Image.open(io.BytesIO(PICTURE)).convert("RGB")).astype(int)
    made = masked(drawing, preprocessor="inpaint_only")
    changed = (made != own).any(axis=2)
    assert changed[18:30, 30:42].mean() > 0.9
    changed[12:36, 24:48] = False  # the mask and its rim of 6 pixels
    assert not changed.any()


def test_global_harmony_is_what_the_network_draws_of_the_picture_as_it_is(drawing: Drawing) -> None:
    plain = masked(drawing)
    assert np.array_equal(masked(drawing, preprocessor="inpaint_global_harmonious"), plain)
    assert not np.array_equal(masked(drawing, preprocessor="inpaint_only"), plain)
    assert np.array_equal(masked(drawing, preprocessor="inpaint_only", weight=0.0), masked(drawing, weight=0.0))


def test_inpaint_only_without_a_mask_is_refused(drawing: Drawing) -> None:
    unit = ControlUnit(image=ref(PICTURE), model="edges", preprocessor="inpaint_only")
    with pytest.raises(AssertionError, match="Control unit 1 has no mask"):
        drawing.run(Txt2Img(**PLAIN, control=(unit,)), {ref(PICTURE).sha256: PICTURE})


def test_in_the_hires_pass_the_rest_stays_the_enlarged_picture(drawing: Drawing) -> None:
    masks = mask_bytes()
    images = {ref(file).sha256: file for file in (PICTURE, masks)}
    unit = ControlUnit(
        image=ref(PICTURE), mask=ref(masks), model="edges_inpaint", preprocessor="inpaint_only",
        resize_mode="Just Resize",
    )  # fmt: skip
    request = Txt2Img(**PLAIN, enable_hr=True, hr_scale=2, denoising_strength=0.5, control=(unit,))
    (made,) = drawing.run(request, images)
    picture = np.frombuffer(made, np.uint8).reshape(96, 144, 3)
    own = fit(np.asarray(Image.open(io.BytesIO(PICTURE)).convert("RGB")), 144, 96, "Just Resize", "image")
    changed = (picture != own).any(axis=2)
    assert changed[36:60, 60:84].mean() > 0.9
    changed[30:66, 54:90] = False
    assert not changed.any()


def test_the_part_that_is_inpainted_alone_keeps_its_part_of_the_tabs_picture(drawing: Drawing) -> None:
    masks = mask_bytes()
    images = {ref(file).sha256: file for file in (PICTURE, masks)}
    unit = ControlUnit(model="edges_inpaint", preprocessor="inpaint_only")
    given = {**PLAIN, "init_image": ref(PICTURE), "mask": ref(masks), "inpaint_area": "Only masked", "mask_blur": 0}
    (made,) = drawing.run(Inpaint(**given, control=(unit,)), images)
    own = np.asarray(Image.open(io.BytesIO(PICTURE)).convert("RGB"))
    changed = (np.frombuffer(made, np.uint8).reshape(48, 72, 3) != own).any(axis=2)
    assert changed[18:30, 30:42].mean() > 0.9
    changed[18:30, 30:42] = False
    assert not changed.any()
