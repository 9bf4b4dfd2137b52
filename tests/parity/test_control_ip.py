"""IP-Adapter, plain and plus, against diffusers: the whole U-Net with the same file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.control.small import base_of, load, write
from tests.nn.small import UNETS
from tests.nn.weights import draw, drawn, relative_error
from tests.parity.test_control_nets import hint_of
from tests.parity.test_nn_unet import TIMESTEPS, ExactTimeProjection, both, inputs
from webui.control.adapters import Hint, UnetRows
from webui.ext.loader import Loader
from webui.nn.config import UNetConfig
from webui.nn.taps import KeysValues, Taps

TOLERANCE = 1e-5
EMBEDDING, TOKENS, WIDTH, HEADS = 20, 4, 128, 2


@pytest.fixture
def loader() -> Iterator[Loader]:
    loader = Loader()
    yield loader
    loader.close()


def projection(plus: bool, context: int) -> dict[str, tuple[int, ...]]:
    if not plus:
        return {"proj.weight": (TOKENS * context, EMBEDDING), "proj.bias": (TOKENS * context,),
                "norm.weight": (context,), "norm.bias": (context,)}  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, TOKENS, WIDTH), "proj_in.weight": (WIDTH, EMBEDDING), "proj_in.bias": (WIDTH,),
        "proj_out.weight": (context, WIDTH), "proj_out.bias": (context,), "norm_out.weight": (context,),
        "norm_out.bias": (context,),
    }  # fmt: skip
    for layer in range(4):
        for norm in ("0.norm1", "0.norm2", "1.0"):
            shapes |= {f"layers.{layer}.{norm}.weight": (WIDTH,), f"layers.{layer}.{norm}.bias": (WIDTH,)}
        shapes |= {
            f"layers.{layer}.0.to_q.weight": (64 * HEADS, WIDTH),
            f"layers.{layer}.0.to_kv.weight": (128 * HEADS, WIDTH),
            f"layers.{layer}.0.to_out.weight": (WIDTH, 64 * HEADS),
            f"layers.{layer}.1.1.weight": (4 * WIDTH, WIDTH),
            f"layers.{layer}.1.3.weight": (WIDTH, 4 * WIDTH),
        }
    return shapes


def file_of(config: UNetConfig, plus: bool, attentions: tuple[str, ...], widths: dict[str, int]) -> dict[str, Tensor]:
    shapes = {f"image_proj.{name}": shape for name, shape in projection(plus, config.context_dim).items()}
    cross = [name for name in attentions if name.endswith("attn2")]
    ordered = [name for name in cross if not name.startswith("middle")]
    ordered += [name for name in cross if name.startswith("middle")]
    for j, name in enumerate(ordered):
        for part in ("to_k_ip", "to_v_ip"):
            shapes[f"ip_adapter.{2 * j + 1}.{part}.weight"] = (widths[name], config.context_dim)
    return {name: drawn(name, draw(*shape, seed=i)) for i, (name, shape) in enumerate(shapes.items())}


@pytest.mark.parametrize("plus", [False, True], ids=["plain", "plus"])
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_the_unet_draws_as_diffusers_does(family, plus, tmp_path, loader):
    config = UNETS[family]
    ours, theirs = both(config, torch.float32)
    widths = {name: module.to_k.out_features for name, module in ours.named_modules() if name.endswith("attn2")}
    tensors = file_of(config, plus, ours.tap_names.attentions, widths)
    base = base_of(config, family, ours)
    loaded = load(write(tmp_path / "ip.safetensors", tensors), base, loader)
    assert (loaded.match.kind, loaded.match.attends) == ("IP-Adapter", True)
    seen = {"embeds": draw(1, EMBEDDING, seed=1), "hidden": draw(1, 9, EMBEDDING, seed=2),
            "hidden_of_nothing": draw(1, 9, EMBEDDING, seed=3)}  # fmt: skip
    plain = hint_of()
    hint = Hint(plain.image, plain.source, plain.settings, None, {name: one.numpy() for name, one in seen.items()})
    given = inputs(config, torch.float32)
    y = None
    if config.adm_channels is not None:
        sizes = ExactTimeProjection(4)(given["time_ids"].flatten()).view(2, -1)
        y = torch.cat([given["text_embeds"], sizes.float()], dim=1)
    call = UnetRows(given["x"], TIMESTEPS, given["context"], y, (True, False), 0, 20)
    with torch.no_grad():
        found = loaded.adapter.residuals(call, loaded.adapter.prepare(hint)).keys_values
        taps = Taps(keys_values={name: (KeysValues(*pair),) for name, pair in found.items()})
        answer = ours(call.x, TIMESTEPS, call.context, y, None, taps)
        without = ours(call.x, TIMESTEPS, call.context, y)
        parts = {side: {name.removeprefix(f"{side}."): tensor for name, tensor in tensors.items()
                        if name.startswith(side)} for side in ("image_proj", "ip_adapter")}  # fmt: skip
        theirs._load_ip_adapter_weights([parts])
        for processor in theirs.attn_processors.values():
            if hasattr(processor, "scale"):
                processor.scale = [1.0]
        pair = (seen["hidden"], seen["hidden_of_nothing"]) if plus else (seen["embeds"], seen["embeds"] * 0)
        embeds = [torch.stack(list(pair))]
        conditions = {"text_embeds": given["text_embeds"], "time_ids": given["time_ids"], "image_embeds": embeds}
        expected = theirs(call.x, TIMESTEPS, call.context, added_cond_kwargs=conditions).sample
    assert relative_error(answer, expected) < TOLERANCE
    assert relative_error(answer, without) > 0.01
