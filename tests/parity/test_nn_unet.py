"""The U-Net against diffusers' `UNet2DConditionModel` with the same weights under its own names."""

import re

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from tests.nn.small import UNETS
from tests.nn.weights import draw, drawn, randomise, relative_error
from webui.nn.config import SD15, UNetConfig
from webui.nn.unet import Controls, UNet

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
PRECISIONS = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
FAMILIES = pytest.mark.parametrize("family", UNETS)
TIMESTEPS = torch.tensor([3.5, 901.0])

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
OUTSIDE = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
MIDDLE = {"0": "mid_block.resnets.0", "1": "mid_block.attentions.0", "2": "mid_block.resnets.1"}


def diffusers_name(key: str, config: UNetConfig) -> str:
    """diffusers' name of an ldm key."""
    for ours, theirs in OUTSIDE.items():
        if key.startswith(f"{ours}."):
            return theirs + key.removeprefix(ours)
    if match := re.fullmatch(r"middle_block\.(\d)\.(.+)", key):
        return f"{MIDDLE[match[1]]}.{inner_name(match[2])}"
    match = re.fullmatch(r"(input|output)_blocks\.(\d+)\.(\d)\.(.+)", key)
    assert match, key
    side, block, layer, rest = match[1], int(match[2]), int(match[3]), match[4]
    return f"{layer_name(side, block, layer, rest, config)}.{inner_name(rest)}"


def layer_name(side: str, block: int, layer: int, rest: str, config: UNetConfig) -> str:
    """diffusers' name of one layer of an encoder or decoder block."""
    a_level = config.num_res_blocks + 1  # entries of a level: the encoder's last halves, the decoder has one Res more
    level, j = divmod(block - 1 if side == "input" else block, a_level)
    prefix = f"down_blocks.{level}" if side == "input" else f"up_blocks.{level}"
    if rest.startswith("op."):
        return f"{prefix}.downsamplers.0"
    if rest.startswith("conv."):
        return f"{prefix}.upsamplers.0"
    return f"{prefix}.resnets.{j}" if layer == 0 else f"{prefix}.attentions.{j}"


def inner_name(rest: str) -> str:
    """Transformers are named alike inside; residual blocks and resizers are not."""
    for ours, theirs in RESNET.items():
        if rest.startswith(f"{ours}."):
            return theirs + rest.removeprefix(ours)
    return "conv" + rest.removeprefix("op") if rest.startswith("op.") else rest


class ExactTimeProjection(nn.Module):
    """In diffusers the sinusoids are float32 whatever the model is; this is the same formula in float64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, timesteps: Tensor) -> Tensor:
        half = self.width // 2
        frequencies = 10000 ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = timesteps.double()[:, None] * frequencies
        return torch.cat([angles.cos(), angles.sin()], dim=1)


def their_config(config: UNetConfig) -> dict[str, object]:
    """Arguments of diffusers' class for one of our configs."""
    down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in config.transformer_depth]
    up = ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(config.transformer_depth)]
    arguments: dict[str, object] = {
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "down_block_types": down,
        "up_block_types": up,
        "block_out_channels": config.widths,
        "layers_per_block": config.num_res_blocks,
        "cross_attention_dim": config.context_dim,
        "attention_head_dim": [config.heads(width) for width in config.widths],  # it means the number of heads
        "norm_num_groups": config.norm_groups,
        "use_linear_projection": config.linear_projection,
        "transformer_layers_per_block": [
            depth or config.transformer_depth_middle for depth in config.transformer_depth
        ],
    }
    if config.adm_channels is not None:
        arguments["addition_embed_type"] = "text_time"
        arguments["addition_time_embed_dim"] = 4
        arguments["projection_class_embeddings_input_dim"] = config.adm_channels
    return arguments


def both(config: UNetConfig, dtype: torch.dtype) -> tuple[UNet, UNet2DConditionModel]:
    """Ours and theirs, with the same random weights in memory once."""
    with torch.device("meta"):
        ours, theirs = UNet(config).to(dtype), UNet2DConditionModel(**their_config(config)).to(dtype)
    weights = {}
    generator = torch.Generator().manual_seed(0)
    for name, parameter in ours.named_parameters():
        weights[name] = drawn(name, torch.randn(parameter.shape, generator=generator)).to(dtype)
    ours.load_state_dict(weights, assign=True)
    theirs.load_state_dict({diffusers_name(name, config): w for name, w in weights.items()}, assign=True)
    if dtype == torch.float64:
        theirs.time_proj = ExactTimeProjection(config.model_channels)
        theirs.add_time_proj = ExactTimeProjection(4)
    return ours.eval(), theirs.eval()


def inputs(config: UNetConfig, dtype: torch.dtype, size: tuple[int, int] = (16, 16)) -> dict[str, Tensor]:
    """x, context and the parts of y: text_embeds (b 16) and time_ids (b 6)."""
    return {
        "x": draw(2, config.in_channels, *size, dtype=dtype),
        "context": draw(2, 7, config.context_dim, seed=2, dtype=dtype),
        "text_embeds": draw(2, 16, seed=3, dtype=dtype),
        "time_ids": torch.tensor([[1024, 768, 0, 0, 1024, 768], [512, 512, 8, 0, 640, 512]]).to(dtype),
    }


@torch.no_grad()
def our_answer(unet: UNet, given: dict[str, Tensor], controls: Controls | None = None) -> Tensor:
    y = None
    if unet.config.adm_channels is not None:
        sizes = ExactTimeProjection(4)(given["time_ids"].flatten()).view(2, -1)  # (b 6*4)
        y = torch.cat([given["text_embeds"], sizes.to(given["x"].dtype)], dim=1)
    return unet(given["x"], TIMESTEPS, given["context"], y, controls)


@torch.no_grad()
def their_answer(unet: UNet2DConditionModel, given: dict[str, Tensor], **residuals: object) -> Tensor:
    conditions = {"text_embeds": given["text_embeds"], "time_ids": given["time_ids"]}
    return unet(given["x"], TIMESTEPS, given["context"], added_cond_kwargs=conditions, **residuals).sample


def assert_varies(answer: Tensor) -> None:
    """The answer is neither constant, nor the same for both rows."""
    assert answer.std() > 0.01
    assert relative_error(answer[0], answer[1]) > 0.1


@FAMILIES
@PRECISIONS
def test_the_unet_agrees_with_diffusers(family: str, dtype: torch.dtype) -> None:
    ours, theirs = both(UNETS[family], dtype)
    given = inputs(UNETS[family], dtype)
    answer = our_answer(ours, given)
    assert relative_error(answer, their_answer(theirs, given)) < TOLERANCE[dtype]
    assert_varies(answer)


@FAMILIES
def test_every_input_of_the_unet_matters(family: str) -> None:
    ours, _ = both(UNETS[family], torch.float64)
    given = inputs(UNETS[family], torch.float64)
    answer = our_answer(ours, given)
    names = ["x", "context", "text_embeds", "time_ids"] if family == "sdxl" else ["x", "context"]
    for name in names:
        assert relative_error(our_answer(ours, {**given, name: given[name].flip(0)}), answer) > 1e-3, name
    same_x = {name: value[:1].expand_as(value) for name, value in given.items()}
    by_timestep = our_answer(ours, same_x)
    assert relative_error(by_timestep[0], by_timestep[1]) > 1e-3


@FAMILIES
@pytest.mark.parametrize("size", [(13, 11), (9, 16), (17, 23)], ids=str)
def test_odd_latent_sizes_agree_with_diffusers(family: str, size: tuple[int, int]) -> None:
    ours, theirs = both(UNETS[family], torch.float64)
    given = inputs(UNETS[family], torch.float64, size)
    answer = our_answer(ours, given)
    assert answer.shape[-2:] == size
    assert relative_error(answer, their_answer(theirs, given)) < 1e-10
    assert_varies(answer)


def skip_shapes(unet: UNet, given: dict[str, Tensor]) -> list[torch.Size]:
    """Shape of what each input block gives out, and of the middle block's last."""
    shapes: list[torch.Size] = []
    hooks = [
        block.register_forward_hook(lambda _module, _args, out: shapes.append(out.shape))
        for block in [*unet.input_blocks, unet.middle_block]
    ]
    our_answer(unet, given)
    for hook in hooks:
        hook.remove()
    return shapes


@FAMILIES
@PRECISIONS
def test_control_residuals_agree_with_diffusers(family: str, dtype: torch.dtype) -> None:
    ours, theirs = both(UNETS[family], dtype)
    given = inputs(UNETS[family], dtype, (13, 16))
    *skips, middle = [draw(*shape, seed=i, dtype=dtype) for i, shape in enumerate(skip_shapes(ours, given))]
    answer = our_answer(ours, given, Controls(skips, middle))
    expected = their_answer(theirs, given, down_block_additional_residuals=skips, mid_block_additional_residual=middle)
    assert relative_error(answer, expected) < TOLERANCE[dtype]
    assert relative_error(answer, our_answer(ours, given)) > 0.01
    assert_varies(answer)


def test_residuals_on_the_hidden_state_agree_with_diffusers() -> None:
    ours, theirs = both(UNETS["sd1"], torch.float64)
    given = inputs(UNETS["sd1"], torch.float64)
    shapes = skip_shapes(ours, given)
    hidden = {i: draw(*shapes[i], seed=i, dtype=torch.float64) for i in (2, 5, 8, 11)}
    answer = our_answer(ours, given, Controls(hidden=hidden))
    expected = their_answer(theirs, given, down_intrablock_additional_residuals=list(hidden.values()))
    assert relative_error(answer, expected) < 1e-10
    assert relative_error(answer, our_answer(ours, given)) > 0.01


@pytest.mark.slow
def test_the_full_size_sd15_unet_agrees_with_diffusers() -> None:
    ours, theirs = both(SD15.unet, torch.float32)
    given = inputs(SD15.unet, torch.float32, (32, 24))
    answer = our_answer(ours, given)
    assert relative_error(answer, their_answer(theirs, given)) < 1e-5
    assert_varies(answer)


def test_random_weights_leave_no_tensor_at_zero() -> None:
    for name, parameter in randomise(UNet(UNETS["sdxl"])).named_parameters():
        assert parameter.abs().min() < parameter.abs().max(), name
        assert parameter.count_nonzero() == parameter.numel(), name
