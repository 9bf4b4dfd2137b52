"""Units against a second, plain writing of the same rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.nn.small import UNETS
from tests.nn.weights import draw, randomise
from webui.checkpoints.header import Header
from webui.control.adapters import Base, ControlAdapter, Hint, Match, Residuals, UnetRows
from webui.control.areas import attention_size
from webui.control.lone import LoneUnit
from webui.control.passes import PassUnits
from webui.control.policy import in_pass, in_window, soft_weights
from webui.control.together import answer_together
from webui.control.units import Fitted, Unit
from webui.nn.taps import Controls
from webui.nn.unet import UNet
from webui.schema.control import CONTROL_MODES, ControlUnit

BALANCED, PROMPT, CONTROL = CONTROL_MODES
SIZES = [(8, 8), (8, 8), (4, 4)]
CONFIG = UNETS["sd1"]


class Fixed(ControlAdapter):
    """Gives the same residuals to each row: one per size, and a middle; counts its calls."""

    def __init__(self, seed: int = 0, features: bool = False, attends: bool = False) -> None:
        self.raw = [draw(1, 3, *size, seed=seed + i) for i, size in enumerate(SIZES)]
        self.middle = draw(1, 3, 2, 2, seed=seed + 9)
        self.features = features
        self.attends = attends
        self.rows: list[int] = []
        self.prepared = 0

    @classmethod
    def probe(cls, header: Header) -> Match | None:
        return None

    @classmethod
    def load(cls, weights: Mapping[str, Tensor], match: Match, base: Base, device: torch.device) -> Self:
        return cls()

    def prepare(self, hint: Hint) -> Any:
        self.prepared += 1
        return hint

    def residuals(self, call: UnetRows, prepared: Any) -> Residuals:
        self.rows.append(len(call.x))
        if self.attends:
            keys = draw(1, 4, 64, seed=3)
            return Residuals(keys_values={"input_blocks.4.1.transformer_blocks.0.attn2": (keys, keys + 1)})
        grown = [raw.expand(len(call.x), -1, -1, -1) for raw in self.raw]
        if self.features:
            return Residuals(hidden=dict(zip((2, 5, 8), grown, strict=True)))
        return Residuals(grown, self.middle.expand(len(call.x), -1, -1, -1))


def call(is_cond: tuple[bool, ...] = (True, False), step: int = 0, steps: int = 20) -> UnetRows:
    b = len(is_cond)
    return UnetRows(draw(b, 4, 8, 8), torch.zeros(b), draw(b, 7, 24), None, is_cond, step, steps)


def unit(
    adapter: ControlAdapter, region: Tensor | None = None, hires: bool = False, pooled: bool = False, **settings: Any
) -> Unit:
    chosen = ControlUnit(**{"model": "x", **settings})
    hint = Hint(torch.zeros(1, 3, 64, 64), np.zeros((64, 64, 3), np.uint8), chosen)
    match = Match("x", pooled=pooled, attends=getattr(adapter, "attends", False))
    return Unit(Fitted(1, chosen, adapter, match, CONFIG, hint, region, hires))


def plainly(adapter: Fixed, mode: str, weight: float, is_cond: tuple[bool, ...], **more: Any) -> list[Tensor]:
    """The rules once more, one row and one residual after another."""
    residuals = [*adapter.raw, adapter.middle]
    n = len(residuals)
    expected = []
    for i, raw in enumerate(residuals):
        per_row = []
        for cond in is_cond:
            r = raw[0]
            if more.get("pooled"):
                r = torch.ones_like(r) * r.mean(dim=(1, 2))[:, None, None]
            if more.get("region") is not None:
                r = r * F.interpolate(more["region"], size=r.shape[1:], mode="bilinear", align_corners=False)[0]
            factor = weight if mode == BALANCED else weight * 0.825 ** (n - 1 - i)
            if more.get("layer_weights"):
                factor = more["layer_weights"][i]
            if (mode == CONTROL or more.get("pooled")) and not cond:
                factor = 0.0
            per_row.append(r * factor)
        expected.append(torch.stack(per_row))
    return expected


def same(given: Controls, expected: list[Tensor]) -> bool:
    found = [*given.skips, given.middle]
    return len(found) == len(expected) and all(
        a is not None and torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("mode", CONTROL_MODES)
@pytest.mark.parametrize("weight", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("is_cond", [(True, False), (True, True, False), (True,)])
def test_modes_and_weights_are_those_of_a_plain_writing(mode, weight, is_cond):
    adapter = Fixed()
    given = unit(adapter, mode=mode, weight=weight).residuals(call(is_cond)).controls
    assert same(given, plainly(adapter, mode, weight, is_cond))


@pytest.mark.parametrize("mode", CONTROL_MODES)
def test_pooled_residuals_are_means_of_the_prompts_rows(mode):
    adapter = Fixed()
    given = unit(adapter, pooled=True, mode=mode).residuals(call()).controls
    assert same(given, plainly(adapter, mode, 1.0, (True, False), pooled=True))


@pytest.mark.parametrize("mode", CONTROL_MODES)
def test_a_region_mask_is_resized_to_every_residual(mode):
    adapter, region = Fixed(), draw(1, 1, 64, 64, seed=5).sigmoid()
    given = unit(adapter, region=region, mode=mode).residuals(call()).controls
    assert same(given, plainly(adapter, mode, 1.0, (True, False), region=region))


def test_a_white_region_mask_is_no_mask():
    given = unit(Fixed(), region=torch.ones(1, 1, 64, 64)).residuals(call()).controls
    plain = unit(Fixed()).residuals(call()).controls
    assert all(torch.equal(a, b) for a, b in zip(given.skips, plain.skips, strict=True))
    assert torch.equal(given.middle, plain.middle)


def test_layer_weights_stand_in_the_place_of_weight_and_mode():
    adapter = Fixed()
    layers = (0.1, 0.2, 0.3, 0.4)
    given = unit(adapter, layer_weights=layers, weight=2.0, mode=PROMPT).residuals(call()).controls
    assert same(given, plainly(adapter, PROMPT, 2.0, (True, False), layer_weights=layers))


def test_only_the_prompts_rows_are_computed_where_control_counts_more():
    adapter = Fixed()
    unit(adapter, mode=CONTROL).residuals(call((True, True, False)))
    assert adapter.rows == [2]
    assert unit(adapter, mode=CONTROL).residuals(call((False,))).controls == Controls()


def test_soft_weights_are_the_known_ones():
    known = (0.0994, 0.1205, 0.1461, 0.1770, 0.2146, 0.2601, 0.3153, 0.3822, 0.4633, 0.5615, 0.6806, 0.8250, 1.0)
    assert soft_weights(13) == pytest.approx(known, abs=6e-5)
    assert soft_weights(10) == pytest.approx(known[:10], abs=6e-5)
    assert soft_weights(7)[-1] == 1


def test_an_adapters_features_have_soft_weights_of_their_own():
    adapter = Fixed(features=True)
    given = unit(adapter, mode=PROMPT, weight=2.0).residuals(call()).controls
    for (block, state), raw, factor in zip(given.hidden.items(), adapter.raw, (0.25, 0.62, 0.825), strict=True):
        assert torch.allclose(state, (raw * 2 * factor).expand(2, -1, -1, -1)), block


@pytest.mark.parametrize(
    ("start", "end", "acting"),
    [(0, 1, range(10)), (0, 0, [0]), (0.25, 0.5, [3, 4, 5]), (0.2, 0.2, [2]), (0.91, 1, []), (1, 1, [])],
)
def test_the_window_holds_its_edges(start, end, acting):
    settings = ControlUnit(model="x", start=start, end=end)
    assert [step for step in range(10) if in_window(settings, step, 10)] == list(acting)


def test_hires_options_choose_the_pass():
    passes = {option: [in_pass(ControlUnit(hr_option=option), hires) for hires in (False, True)]
              for option in ("Both", "Low res only", "High res only")}  # fmt: skip
    assert passes == {"Both": [True, True], "Low res only": [True, False], "High res only": [False, True]}


def test_canny_is_soft_in_the_hires_pass():
    hires = unit(Fixed(), hires=True, preprocessor="canny").residuals(call()).controls
    soft = unit(Fixed(), mode=PROMPT).residuals(call()).controls
    assert all(torch.equal(a, b) for a, b in zip(hires.skips, soft.skips, strict=True))


def test_units_are_summed_in_their_order():
    first, second = Fixed(0), Fixed(100)
    units = PassUnits([unit(first, weight=0.5), unit(second, mode=CONTROL)])
    given = units.total(call()).controls
    one, two = (plainly(*case, (True, False)) for case in ((first, BALANCED, 0.5), (second, CONTROL, 1.0)))
    assert same(given, [a + b for a, b in zip(one, two, strict=True)])


def test_features_and_residuals_add_up_side_by_side():
    units = PassUnits([unit(Fixed(0)), unit(Fixed(50, features=True))])
    given = units.total(call()).controls
    assert sorted(given.hidden) == [2, 5, 8]
    assert same(given, plainly(Fixed(0), BALANCED, 1.0, (True, False)))


def test_weight_zero_asks_the_network_for_nothing():
    adapter = Fixed()
    units = PassUnits([unit(adapter, weight=0.0)])
    assert units.total(call()).controls == Controls([], None, {})
    assert adapter.rows == []


def test_a_hint_is_prepared_once_in_a_pass():
    adapter = Fixed()
    units = PassUnits([unit(adapter)])
    for step in range(3):
        units.total(call(step=step))
    assert adapter.prepared == 1


def test_each_unit_reports_the_mean_ratio_of_each_step():
    adapter = Fixed()
    units = PassUnits([unit(adapter, weight=0.5, end=0.5)])
    for step in range(4):
        units.total(call(step=step, steps=4))
        units.measure([2 * raw.expand(2, -1, -1, -1) for raw in adapter.raw], adapter.middle.expand(2, -1, -1, -1))
    (report,) = units.reports(4)
    assert report.steps == (0, 1, 2)
    assert report.values == pytest.approx([(0.25 * 3 + 0.5) / 4] * 3, rel=1e-5)


def test_a_unit_that_attends_reports_what_it_adds_to_the_attention():
    units = PassUnits([unit(Fixed(attends=True))])
    for step, size in ((0, 1.0), (2, 3.0)):
        ((extra,),) = units.total(call(step=step)).keys_values.values()
        extra.watch(torch.full((2, 16, 64), size), torch.full((2, 16, 64), -10.0))
    (report,) = units.reports(20)
    assert (report.steps, report.measured) == ((0, 2), True)
    assert report.values == pytest.approx([0.1, 0.3])


def lone(number: int = 1, **settings: Any) -> LoneUnit:
    chosen = ControlUnit(**{"preprocessor": "reference_only", **settings})
    return LoneUnit(number, chosen, Hint(torch.zeros(1, 3, 8, 8), np.zeros((8, 8, 3), np.uint8), chosen))


def test_a_unit_without_a_model_reports_what_its_extension_told():
    one = lone(2)
    one.tell(3, torch.ones(4), torch.full((4,), 2.0))
    one.tell(3, torch.ones(4), torch.full((4,), 4.0))
    first, second = PassUnits([unit(Fixed())], [one]).reports(20)
    assert (first.number, first.steps) == (1, ())
    assert (second.number, second.label, second.steps) == (2, "reference_only", (3,))
    assert second.values == pytest.approx([0.375])


def test_of_a_unit_whose_extension_told_nothing_only_its_window_is_known():
    assert [one.report(10).measured for one in (lone(), lone(weight=0.0), lone(start=0.95))] == [False, True, True]


def pictures(*shared: Unit, count: int = 2) -> list[PassUnits]:
    return [PassUnits([Unit(one.fitted) for one in shared]) for _ in range(count)]


def test_the_network_is_asked_once_for_all_pictures_of_a_batch():
    adapter, own = Fixed(), Fixed(50)
    first, second, third = pictures(unit(adapter, mode=CONTROL, weight=0.5), count=3)
    third = PassUnits([*third.units, Unit(replace(unit(own).fitted, number=2))])
    calls = [call((True, False)), call((True, True, False)), call()]
    answers = answer_together([(one, rows) for one, rows in zip((first, second, third), calls, strict=True)])
    assert (adapter.rows, own.rows) == ([4], [])
    for one, rows, answer in zip((first, second), calls, answers, strict=False):
        expected = plainly(adapter, CONTROL, 0.5, rows.is_cond)
        assert same(one.total(rows, answer).controls, expected)
    third.total(calls[2], answers[2])
    assert (adapter.rows, own.rows, adapter.prepared) == ([4], [2], 1)


def test_pictures_in_other_steps_or_of_other_sizes_are_asked_alone():
    one, other = pictures(unit(Fixed()))
    wide = replace(call(), x=draw(2, 4, 8, 16))
    assert answer_together([(one, call(step=1)), (other, call(step=2))]) == [{}, {}]
    assert answer_together([(one, call()), (other, wide)]) == [{}, {}]
    assert answer_together([(one, call())]) == [{}]


@pytest.mark.parametrize("kind", ["features", "attends"])
def test_every_kind_of_answer_is_shared_out_by_rows(kind):
    adapter = Fixed(**{kind: True})
    one, other = pictures(unit(adapter))
    rows = [call(), call((True, True, False))]
    answers = answer_together([(one, rows[0]), (other, rows[1])])
    for picture, given, answer in zip((one, other), rows, answers, strict=True):
        together, alone = picture.total(given, answer), picture.total(given)
        assert together.controls.hidden.keys() == alone.controls.hidden.keys()
        for block, state in together.controls.hidden.items():
            assert torch.equal(state, alone.controls.hidden[block])
        for name, (extra,) in together.keys_values.items():
            assert torch.equal(extra.keys, alone.keys_values[name][0].keys)


def test_low_vram_takes_the_network_off_the_device_after_every_call():
    moves: list[str] = []

    class Net(torch.nn.Module):
        def to(self, device: Any) -> Any:
            moves.append(str(device))
            return self

    class Placed(Fixed):
        def modules(self) -> list[torch.nn.Module]:
            return [net]

    net = Net()
    for low_vram, expected in ((False, ["meta", "meta"]), (True, ["meta", "cpu", "meta", "cpu"])):
        moves.clear()
        one = unit(Placed(), low_vram=low_vram)
        for step in range(2):
            one.ask(replace(call(step=step), x=torch.empty(2, 4, 8, 8, device="meta")))
        assert moves == expected


def test_keys_and_values_carry_weight_rows_and_region():
    region = torch.cat([torch.ones(1, 1, 64, 32), torch.zeros(1, 1, 64, 32)], dim=3)
    units = PassUnits([unit(Fixed(attends=True), region=region, weight=0.5, mode=CONTROL)])
    assert units.attend
    ((name, (extra,)),) = units.total(call()).keys_values.items()
    assert name == "input_blocks.4.1.transformer_blocks.0.attn2"
    weight = torch.as_tensor(extra.weight).expand(2, 16, 1)
    # level 1 sees the 8 x 8 latent as 4 x 4: mode "control" with one residual is full weight, the right half nothing
    assert weight[0, :, 0].view(4, 4).tolist() == [[0.5, 0.5, 0.0, 0.0]] * 4
    assert float(weight[1].abs().sum()) == 0


@pytest.mark.parametrize("family", UNETS)
@pytest.mark.parametrize("size", [(16, 16), (13, 9)])
def test_the_size_of_every_attention_is_known(family, size):
    unet = randomise(UNet(UNETS[family]))
    config, seen = UNETS[family], {}
    for name, module in unet.named_modules():
        if name.endswith("attn1"):
            module.register_forward_pre_hook(lambda _m, args, name=name: seen.update({name: args[0].shape[1]}))
    y = None if config.adm_channels is None else draw(1, config.adm_channels)
    with torch.no_grad():
        unet(draw(1, 4, *size), torch.zeros(1), draw(1, 7, config.context_dim), y)
    for name, tokens in seen.items():
        h, w = attention_size(config, name, size)
        assert h * w == tokens, name
