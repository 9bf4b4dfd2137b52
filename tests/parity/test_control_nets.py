"""ControlNet, ControlNet-Union and Control-LoRA against diffusers with the same random weights, in every layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel, ControlNetUnionModel, MultiControlNetModel
from torch import Tensor

from tests.control.small import base_of, load, write
from tests.nn.small import UNETS
from tests.nn.weights import draw, randomise, relative_error
from tests.parity.test_nn_unet import their_config
from webui.checkpoints.control_layouts import bare_names
from webui.control.adapters import Hint, UnetRows
from webui.control.passes import PassUnits
from webui.control.units import Fitted, Unit
from webui.ext.loader import Loader
from webui.nn.config import UNetConfig
from webui.schema.control import ControlUnit

TOLERANCE = 1e-5
WIDTHS = (4, 8, 12, 20)
FAMILIES = pytest.mark.parametrize("family", UNETS)
TIMESTEPS = torch.tensor([3.5, 901.0])


@pytest.fixture
def loader() -> Iterator[Loader]:
    loader = Loader()
    yield loader
    loader.close()


def their_net(config: UNetConfig, kind: type = ControlNetModel, **more: object) -> ControlNetModel:
    given = their_config(config)
    del given["out_channels"], given["up_block_types"]
    arguments = {**given, "conditioning_embedding_out_channels": WIDTHS, **more}
    return randomise(kind(**arguments), seed=3)  # type: ignore[return-value]


def rows(config: UNetConfig, h: int = 8, w: int = 8) -> UnetRows:
    y = None if config.adm_channels is None else draw(2, config.adm_channels, seed=4)
    context = draw(2, 7, config.context_dim, seed=2)
    return UnetRows(draw(2, 4, h, w, seed=1), TIMESTEPS, context, y, (True, False), 0, 20)


def hint_of(h: int = 64, w: int = 64, unit: ControlUnit | None = None) -> Hint:
    image = draw(1, 3, h, w, seed=9).sigmoid()
    pixels = (image[0].permute(1, 2, 0) * 255).byte().numpy()
    return Hint(image, pixels, unit or ControlUnit(model="x"))


def theirs(net: ControlNetModel, call: UnetRows, hint: Tensor) -> list[Tensor]:
    """diffusers' residuals, the middle's last. y is given as they take it: text embedding and four numbers each."""
    added = {}
    if call.y is not None:
        # their vector condition is put together from parts; ours comes whole: let theirs be what we hand over
        net.add_time_proj = torch.nn.Identity()
        added = {"text_embeds": call.y[:, :-4], "time_ids": call.y[:, -4:]}
    skips, middle = net(
        call.x, call.timesteps, call.context, hint, added_cond_kwargs=added, return_dict=False
    )  # fmt: skip
    return [*skips, middle]


def largest_error(ours: object, expected: list[Tensor]) -> float:
    given = [*ours.skips, ours.middle]  # type: ignore[attr-defined]
    assert len(given) == len(expected)
    assert all(float(tensor.norm()) > 0 for tensor in expected)
    return max(relative_error(a, b) for a, b in zip(given, expected, strict=True))


def run(path: Path, config: UNetConfig, family: str, loader: Loader, call: UnetRows, hint: Hint) -> object:
    loaded = load(path, base_of(config, family), loader)
    return loaded.adapter.residuals(call, loaded.adapter.prepare(hint))


@FAMILIES
def test_a_diffusers_file_gives_diffusers_residuals(family, tmp_path, loader):
    config = UNETS[family]
    net, call, hint = their_net(config), rows(config), hint_of()
    path = write(tmp_path / "net.safetensors", net.state_dict(), config, family)
    with torch.no_grad():
        assert largest_error(run(path, config, family, loader, call, hint), theirs(net, call, hint.image)) < TOLERANCE


def test_several_nets_are_summed_as_diffusers_sums_them(tmp_path, loader):
    config, call = UNETS["sd1"], rows(UNETS["sd1"])
    nets = [randomise(their_net(config), seed=seed) for seed in (3, 6, 8)]
    hints = [replace(hint_of(), image=draw(1, 3, 64, 64, seed=20 + i).sigmoid()) for i in range(3)]
    weights = [1.0, 0.35, 2.0]
    units = []
    for i, (net, hint, weight) in enumerate(zip(nets, hints, weights, strict=True)):
        path = write(tmp_path / f"net{i}.safetensors", net.state_dict(), config)
        loaded = load(path, base_of(config), loader)
        settings = ControlUnit(model="x", weight=weight)
        units.append(Unit(Fitted(i + 1, settings, loaded.adapter, loaded.match, config, hint)))
    with torch.no_grad():
        skips, middle = MultiControlNetModel(nets)(
            call.x, call.timesteps, call.context, [hint.image for hint in hints], weights, return_dict=False
        )  # fmt: skip
        assert largest_error(PassUnits(units).total(call).controls, [*skips, middle]) < TOLERANCE


@pytest.mark.parametrize("prefix", ["", "control_model."])
def test_a_file_with_ldm_names_gives_the_same_bare_or_prefixed(prefix, tmp_path, loader):
    config = UNETS["sd1"]
    net, call, hint = their_net(config), rows(config), hint_of()
    state = net.state_dict()
    tensors = {prefix + ours: state[name] for ours, name in bare_names(state).items()}
    path = write(tmp_path / "net.safetensors", tensors, config)
    with torch.no_grad():
        assert largest_error(run(path, config, "sd1", loader, call, hint), theirs(net, call, hint.image)) < TOLERANCE


def test_a_file_of_differences_is_added_to_the_checkpoints_weights(tmp_path, loader):
    config = UNETS["sd1"]
    base = base_of(config)
    net, call, hint = their_net(config), rows(config), hint_of()
    state = net.state_dict()
    whole = {ours: state[name] for ours, name in bare_names(state).items()}
    tensors = {name: tensor - base.weights[name] if name in base.weights else tensor for name, tensor in whole.items()}
    path = write(tmp_path / "net.safetensors", {**tensors, "difference": torch.zeros(1)}, config)
    loaded = load(path, base, loader)
    with torch.no_grad():
        ours = loaded.adapter.residuals(call, loaded.adapter.prepare(hint))
        assert largest_error(ours, theirs(net, call, hint.image)) < TOLERANCE


@pytest.mark.parametrize(("depth", "middle"), [((0, 0, 1), 1), ((0, 0, 0), 0)], ids=["mid", "small"])
def test_smaller_nets_for_sdxl_give_diffusers_residuals(depth, middle, tmp_path, loader):
    config = replace(UNETS["sdxl"], transformer_depth=depth, transformer_depth_middle=middle)
    more = {} if middle else {"mid_block_type": "UNetMidBlock2D"}
    net, call, hint = their_net(config, **more), rows(config), hint_of()
    path = write(tmp_path / "net.safetensors", net.state_dict(), config, "sdxl")
    with torch.no_grad():
        ours = run(path, UNETS["sdxl"], "sdxl", loader, call, hint)
        assert largest_error(ours, theirs(net, call, hint.image)) < TOLERANCE


@pytest.mark.parametrize(("h", "w"), [(9, 8), (7, 11)])
def test_odd_latents_give_diffusers_residuals(h, w, tmp_path, loader):
    config = UNETS["sd1"]
    net, call, hint = their_net(config), rows(config, h, w), hint_of(8 * h, 8 * w)
    path = write(tmp_path / "net.safetensors", net.state_dict(), config)
    with torch.no_grad():
        assert largest_error(run(path, config, "sd1", loader, call, hint), theirs(net, call, hint.image)) < TOLERANCE


@pytest.mark.parametrize("kind", ["depth", "tile"])
def test_a_union_file_gives_diffusers_residuals(kind, tmp_path, loader):
    # 256 is the width of a type's embedding in the published files, which diffusers takes from its time ids
    config = replace(UNETS["sdxl"], adm_channels=24 + 4)
    more = {"num_control_type": 8, "num_trans_channel": 32, "num_proj_channel": 32, "addition_time_embed_dim": 256}
    net = their_net(config, ControlNetUnionModel, **more)
    call, hint = rows(config), hint_of(unit=ControlUnit(model="x", union_type=kind))
    path = write(tmp_path / "union.safetensors", net.state_dict(), config, "sdxl")
    with torch.no_grad():
        ours = run(path, config, "sdxl", loader, call, hint)
        alone = [theirs_of_union(net, call.only([row]), hint, UNION[kind]) for row in range(2)]
        expected = [torch.cat(both) for both in zip(*alone, strict=True)]
        assert largest_error(ours, expected) < TOLERANCE
        # the rows of one picture hold the same latent: then theirs are the same in a batch
        same = replace(call, x=call.x[:1].expand(2, -1, -1, -1), timesteps=TIMESTEPS[:1].expand(2))
        together = theirs_of_union(net, same, hint, UNION[kind])
        assert largest_error(run(path, config, "sdxl", loader, same, hint), together) < TOLERANCE


UNION = {"openpose": 0, "depth": 1, "tile": 6}


def theirs_of_union(net: ControlNetModel, call: UnetRows, hint: Hint, kind: int) -> list[Tensor]:
    net.add_time_proj = torch.nn.Identity()
    count = len(call.x)
    used = torch.zeros(count, 8)
    used[:, kind] = 1
    assert call.y is not None
    added = {"text_embeds": call.y[:, :-4], "time_ids": call.y[:, -4:]}
    hints = [hint.image.expand(count, -1, -1, -1)]
    given = (call.x, call.timesteps, call.context, hints, used, [kind])
    skips, middle = net(*given, added_cond_kwargs=added, return_dict=False)
    return [*skips, middle]


def test_a_control_lora_is_the_checkpoint_with_a_difference_of_low_rank(tmp_path, loader):
    config = UNETS["sdxl"]
    base = base_of(config, "sdxl")
    net, call, hint = their_net(config), rows(config), hint_of()
    state = net.state_dict()
    names = bare_names(state)
    tensors = {"lora_controlnet": torch.zeros(0)}
    for ours, name in names.items():
        shape = state[name].shape
        if ours in base.weights and len(shape) > 1:
            up, down = draw(shape[0], 2, seed=len(tensors)), draw(2, *shape[1:], seed=len(tensors) + 1) * 0.05
            tensors |= {ours.removesuffix("weight") + "up": up, ours.removesuffix("weight") + "down": down}
            state[name] = base.weights[ours] + (up @ down.flatten(1)).reshape(shape)
        else:
            tensors[ours] = state[name]
    net.load_state_dict(state)
    loaded = load(write(tmp_path / "lora.safetensors", tensors), base, loader)
    assert loaded.match.kind == "Control-LoRA"
    with torch.no_grad():
        ours = loaded.adapter.residuals(call, loaded.adapter.prepare(hint))
        assert largest_error(ours, theirs(net, call, hint.image)) < TOLERANCE


def test_a_net_for_an_inpainting_checkpoint_sees_the_latent_alone(tmp_path, loader):
    config = UNETS["sd1"]
    net, call, hint = their_net(config), rows(config), hint_of()
    path = write(tmp_path / "net.safetensors", net.state_dict(), config)
    wide = replace(call, x=torch.cat([call.x, draw(2, 5, 8, 8, seed=8)], dim=1))
    with torch.no_grad():
        assert largest_error(run(path, config, "sd1", loader, wide, hint), theirs(net, call, hint.image)) < TOLERANCE
