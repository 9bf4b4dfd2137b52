"""The autoencoder against diffusers' `AutoencoderKL` with the same weights under its own names."""

import re
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL

from tests.nn import small
from tests.nn.weights import draw, randomise, relative_error
from webui.nn.config import VAEConfig
from webui.nn.vae import VAE

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
PRECISIONS = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])

RENAMED = [
    (r"mid\.block_1\.", "mid_block.resnets.0."),
    (r"mid\.block_2\.", "mid_block.resnets.1."),
    (r"mid\.attn_1\.norm\.", "mid_block.attentions.0.group_norm."),
    (r"mid\.attn_1\.([qkv])\.", r"mid_block.attentions.0.to_\1."),
    (r"mid\.attn_1\.proj_out\.", "mid_block.attentions.0.to_out.0."),
    (r"\.down\.(\d)\.block\.", r".down_blocks.\1.resnets."),
    (r"\.down\.(\d)\.downsample\.", r".down_blocks.\1.downsamplers.0."),
    (r"\.block\.", ".resnets."),
    (r"\.upsample\.", ".upsamplers.0."),
    (r"nin_shortcut", "conv_shortcut"),
    (r"norm_out", "conv_norm_out"),
]


def diffusers_name(key: str, config: VAEConfig) -> str:
    """diffusers' name of an ldm key; its decoder counts levels from the coarsest."""
    last = len(config.channel_mult) - 1
    key = re.sub(r"\.up\.(\d)\.", lambda m: f".up_blocks.{last - int(m[1])}.", key)
    for pattern, replacement in RENAMED:
        key = re.sub(pattern, replacement, key)
    return key


def both(config: VAEConfig, dtype: torch.dtype) -> tuple[VAE, AutoencoderKL]:
    ours = VAE(config).to(dtype)
    randomise(ours)
    levels = len(config.widths)
    theirs = AutoencoderKL(
        latent_channels=config.z_channels,
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        block_out_channels=config.widths,
        layers_per_block=config.num_res_blocks,
        norm_num_groups=config.norm_groups,
        use_quant_conv=config.quant_conv,
        use_post_quant_conv=config.quant_conv,
        mid_block_add_attention=config.attention,
    ).to(dtype)
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    named = {diffusers_name(key, config): tensor for key, tensor in ours.state_dict().items()}
    # attention's 1x1 convolutions are linear layers there
    theirs.load_state_dict({name: tensor.reshape(shapes[name]) for name, tensor in named.items()})
    return ours, theirs.eval()


@PRECISIONS
@pytest.mark.parametrize(
    "config",
    [small.VAE, replace(small.VAE, channel_mult=(1, 2, 3), num_res_blocks=1, attention=False, quant_conv=False)],
    ids=["as sd", "small"],
)
@torch.no_grad()
def test_the_autoencoder_agrees_with_diffusers(config: VAEConfig, dtype: torch.dtype) -> None:
    ours, theirs = both(config, dtype)
    pictures = draw(2, 3, 48, 32, dtype=dtype)
    posterior, expected = ours.encode(pictures), theirs.encode(pictures).latent_dist
    z = draw(2, 4, 6, 5, seed=2, dtype=dtype)
    picture, expected_picture = ours.decode(z), theirs.decode(z).sample
    pairs = [
        (posterior.mean, expected.mean),
        (posterior.logvar, expected.logvar),
        (picture, expected_picture),
    ]
    for answer, reference in pairs:
        assert relative_error(answer, reference) < TOLERANCE[dtype]
        assert answer.std() > 0.01
        assert relative_error(answer[0], answer[1]) > 0.1


@torch.no_grad()
def test_a_sample_of_the_posterior_agrees_with_diffusers() -> None:
    ours, theirs = both(small.VAE, torch.float64)
    pictures = draw(2, 3, 32, 32, dtype=torch.float64)
    noise = draw(2, 4, 4, 4, seed=5, dtype=torch.float64)
    expected = theirs.encode(pictures).latent_dist
    posterior = ours.encode(pictures)
    assert relative_error(posterior.sample(noise), expected.mean + expected.std * noise) < 1e-10
    assert torch.equal(posterior.mode(), posterior.mean)
