"""Region prompts: what is typed, where it acts, and the two ways of laying prompts together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.extensions.support import ROOT, module
from webui.diffusion.denoiser import Cond
from webui.ext.check import check_extension
from webui.ext.testing import TinyModel, assert_no_leak, loaded, run_pass
from webui.nn.attention import Attention
from webui.schema.errors import BadRequest

BALL, CUBE = "a red ball", "a blue cube"
MODES = ("attention", "latent")
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
SIDE = 60


def covered(text: str) -> np.ndarray:
    """What the one region of a text covers of SIDE x SIDE places."""
    with module("regions", "areas") as areas:
        (region,) = areas.read_regions(text)
        places = (np.arange(SIDE) + 0.5) / SIDE
        return region.covers(places, places)


def part(rows: slice, columns: slice) -> np.ndarray:
    expected = np.zeros((SIDE, SIDE), bool)
    expected[rows, columns] = True
    return expected


ALL = slice(None)


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        ("left", part(ALL, slice(30))),
        ("Right 1/3", part(ALL, slice(40, None))),
        ("top 25%", part(slice(15), ALL)),
        ("bottom .1", part(slice(54, None), ALL)),
        ("top right", part(slice(30), slice(30, None))),
        ("column 2 of 1:1:2", part(ALL, slice(15, 30))),
        ("row 3 of 1:1:2", part(slice(30, None), ALL)),
        ("left column 2 of 1:1:1", part(ALL, slice(20, 30))),
        ("box 0.1 0.2 0.3 0.4", part(slice(12, 36), slice(6, 24))),
        ("box 10%, 20%, 1/2, 1", part(slice(12, None), slice(6, 36))),
        ("everywhere", part(ALL, ALL)),
    ],
)
def test_an_area_covers_what_its_words_say(area: str, expected: np.ndarray):
    assert np.array_equal(covered(f"{area}: a ball"), expected)


def painted(text: str, image: Image.Image) -> list[np.ndarray]:
    with module("regions", "areas") as areas, module("regions", "painting") as painting:
        places = (np.arange(4) + 0.5) / 4, (np.arange(2) + 0.5) / 2
        return [region.covers(*places).astype(int) for region in areas.read_regions(text, painting.paints_of(image))]


def test_a_painted_region_is_where_its_colour_is_nearest():
    image = Image.new("RGBA", (8, 2), (255, 0, 0, 0))
    for at, colour in enumerate([(255, 0, 0), (200, 40, 30), (250, 250, 255), (10, 20, 5)]):
        image.paste((*colour, 255), (at * 2, 0, at * 2 + 2, 1))
    red, white, corner = painted("RED: a\nwhite: b\ntop left red: c", image)
    assert red.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert white.tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]
    assert corner.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]


def test_a_colour_that_is_not_painted_is_named():
    with pytest.raises(BadRequest, match="Region 1 covers nothing of the picture: 'blue: a'"):
        painted("blue: a", Image.new("RGB", (8, 8), "red"))
    with module("regions", "areas") as areas, pytest.raises(BadRequest, match="painted blue, but nothing is painted"):
        areas.read_regions("left: a\nblue: b")


def test_prompts_keep_their_colons_and_lines_without_weight_are_left_out():
    with module("regions", "areas") as areas:
        regions = areas.read_regions("# two\nleft * 1.5: (a ball:1.2): red\n\n row 1 of 1:2: 3 balls\nright*0: gone")
    assert [(region.prompt, region.weight) for region in regions] == [("(a ball:1.2): red", 1.5), ("3 balls", 1.0)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a red ball", "Region 2 cannot be read: 'a red ball'."),
        ("lefty: a ball", "Region 2 cannot be read"),
        ("left", "Region 2 cannot be read"),
        ("left * heavy: a ball", "Region 2 cannot be read"),
        ("column 4 of 1:1:2: a ball", "Region 2: there is no column 4 of 3."),
        ("row 0 of 1:1: a ball", "Region 2: there is no row 0 of 2."),
        ("left 1/0: a ball", "Region 2 covers nothing"),
        ("left 20% right 20%: a ball", "Region 2 covers nothing"),
        (f"column {'1' * 5000} of 1:1: a ball", "Region 2 cannot be read"),
        (f"box {' '.join(['1' * 500] * 4)}x: a ball", "Region 2 cannot be read"),
        (f"box {' '.join(['1.' + '1' * 500] * 4)}x: a ball", "Region 2 cannot be read"),
    ],
)
def test_a_line_that_means_nothing_is_named(line: str, said: str):
    with module("regions", "areas") as areas, pytest.raises(BadRequest) as caught:
        areas.read_regions(f"left: a ball\n{line}")
    assert said in caught.value.message
    assert caught.value.cure


def test_more_regions_than_can_be_drawn_are_refused():
    with module("regions", "areas") as areas:
        assert len(areas.read_regions("left: a ball\n" * 32)) == 32
        with pytest.raises(BadRequest, match="There are 33 regions; 32 are the most"):
            areas.read_regions("left: a ball\n" * 33)


def test_shares_sum_to_1_and_the_main_prompt_has_all_where_no_region_is():
    masks = torch.tensor([[[1.0, 0.0, 1.0, 0.5]], [[0.0, 0.0, 1.0, 0.0]]])
    with module("regions", "shares") as shares:
        found = shares.shares(masks, [2.0, 1.0], 0.2)
    expected = torch.tensor([[0.2, 1.0, 0.2, 0.6], [1.6, 0.0, 1.6, 0.8], [0.0, 0.0, 0.8, 0.0]])
    assert torch.allclose(found[:, 0], expected / expected.sum(0))
    assert torch.allclose(found.sum(0), torch.ones(1, 4))


def test_the_mask_of_a_pass_is_as_large_as_its_latent_and_repeats_its_rim_over_padding():
    pass_ = SimpleNamespace(
        width=20, height=12, shape=(4, 2, 3), crop=None, config=SimpleNamespace(vae=SimpleNamespace(downscale=8))
    )
    with module("regions", "areas") as areas, module("regions", "shares") as shares:
        right, bottom = areas.read_regions("right: a\nbottom: b")
        assert torch.equal(shares.mask_of(pass_, right), torch.tensor([[0.0, 0.75, 1.0]] * 2))
        assert torch.equal(shares.mask_of(pass_, bottom), torch.tensor([[0.25] * 3, [1.0] * 3]))


def test_a_part_that_is_drawn_alone_sees_the_regions_that_lie_there():
    request = SimpleNamespace(init_image="picture")
    job = SimpleNamespace(request=request, image=lambda ref: Image.new("RGB", (200, 100)))
    pass_ = SimpleNamespace(width=4, height=2, crop=(50, 0, 150, 100), job=job)
    with module("regions", "shares") as shares:
        across, down = shares.places(pass_)
    assert across.tolist() == [0.3125, 0.4375, 0.5625, 0.6875]
    assert down.tolist() == [0.25, 0.75]


def attend_alone(attention: Attention, x: Tensor, context: Tensor) -> Tensor:
    """(n c), (m d) -> (n c)."""
    return attention(x[None], context[None])[0]


@pytest.mark.parametrize("base_ratio", [0.0, 0.3])
@pytest.mark.parametrize("length", [5, 7])
def test_coupled_attention_is_the_mean_of_each_prompts_attention(base_ratio: float, length: int):
    torch.manual_seed(0)
    attention = Attention(8, 6, heads=2).requires_grad_(False)
    x, context = torch.randn(3, 6, 8), torch.randn(3, 5, 6)
    own = [torch.randn(length, 6), torch.randn(5, 6)]
    masks = torch.rand(2, 4, 6).round()
    masks[1] = 1 - masks[0]
    with module("regions", "shares") as shares, module("regions", "couple") as couple:
        spread = shares.shares(masks, [1.0, 1.0], base_ratio)
        found = couple.Couple(own, spread, lambda: (True, False, True))(attention, x, context)
    pooled = spread.reshape(3, 2, 2, 3, 2).mean(dim=(2, 4)).flatten(1)  # (3 prompts, 2 x 3 places)
    for row in (0, 2):
        answers = [attend_alone(attention, x[row], text) for text in (context[row], *own)]
        naive = sum(share[:, None] * answer for share, answer in zip(pooled, answers, strict=True))
        assert torch.allclose(found[row], naive, atol=1e-6)
    assert torch.allclose(found[1], attend_alone(attention, x[1], context[1]), atol=1e-6)


def test_the_levels_of_a_unet_round_up():
    with module("regions", "couple") as couple:
        latent = torch.zeros(1, 9, 7)
        assert [couple.layer_size(latent, count) for count in (63, 20, 6)] == [(9, 7), (5, 4), (3, 2)]
        with pytest.raises(ValueError, match="62 places"):
            couple.layer_size(latent, 62)


def test_pooled_texts_are_averaged_by_area():
    conds = [Cond(torch.zeros(1, 1), torch.full((2,), value)) for value in (1.0, 4.0, 8.0)]
    with module("regions") as main:
        mixed = main.with_pooled(conds[0], conds[1:], torch.tensor([0.5, 0.25, 0.25]))
    assert mixed.y.tolist() == [3.5, 3.5]


def drawn(regions: str = "", prompt: str = "", **params: Any) -> Tensor:
    """The latent of a pass on the tiny model, with regions where a text is given."""
    options = {name: params.pop(name) for name in ("steps", "width", "height") if name in params}
    model = TinyModel()
    if not regions:
        return run_pass(None, model, prompt=prompt, **options)
    with loaded(ROOT / "regions") as extension, assert_no_leak(model):
        return run_pass(extension, model, prompt=prompt, params={"regions": regions, **params}, **options)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [{"width": 64, "height": 64}, {"width": 72, "height": 40}])
def test_a_region_of_everything_without_a_base_is_the_picture_of_its_prompt(mode: str, size: dict[str, int]):
    found = drawn(f"everywhere: {BALL}", CUBE, mode=mode, base_ratio=0.0, **size)
    assert torch.equal(found, drawn("", BALL, **size))


@pytest.mark.parametrize("mode", MODES)
def test_two_halves_of_one_prompt_are_the_picture_of_that_prompt(mode: str):
    halves = f"left 1/3: {BALL}\nright 2/3: {BALL}"
    assert torch.allclose(drawn(halves, CUBE, mode=mode, base_ratio=0.0), drawn("", BALL), **CLOSE)
    assert torch.allclose(drawn(halves, BALL, mode=mode, base_ratio=0.4), drawn("", BALL), **CLOSE)


@pytest.mark.parametrize("mode", MODES)
def test_the_main_prompt_draws_alone_where_the_base_ratio_is_1(mode: str):
    assert torch.allclose(drawn(f"left: {BALL}", CUBE, mode=mode, base_ratio=1.0), drawn("", CUBE), **CLOSE)


def test_latents_are_laid_together_as_multidiffusion_does():
    """With one step the latent is the prediction: each half is that of its own prompt, elsewhere of the main one."""
    found = drawn(f"left 1/4: {BALL}\nright 1/4: {CUBE}", "sky", mode="latent", base_ratio=0.0, steps=1)
    ball, cube, sky = (drawn("", prompt, steps=1) for prompt in (BALL, CUBE, "sky"))
    expected = torch.cat([ball[:, :, :2], sky[:, :, 2:6], cube[:, :, 6:]], dim=2)
    assert torch.allclose(found, expected, **CLOSE)
    half = drawn(f"everywhere: {BALL}", "sky", mode="latent", base_ratio=0.25, steps=1)
    assert torch.allclose(half, 0.25 * sky + 0.75 * ball, **CLOSE)


@pytest.mark.parametrize("mode", MODES)
def test_two_prompts_make_another_picture_than_each_of_them(mode: str):
    both = drawn(f"left: {BALL}\nright: {CUBE}", "sky", mode=mode)
    for prompt in (BALL, CUBE, "sky"):
        assert (both - drawn("", prompt)).abs().max() > 0.01


def test_the_main_prompt_can_stand_before_each_regions():
    found = drawn(f"everywhere: {BALL}", "sky", base_ratio=0.0, common=True)
    assert torch.equal(found, drawn("", f"sky, {BALL}"))


def test_its_code_is_as_its_manifest_says():
    assert check_extension(ROOT / "regions") == ()
