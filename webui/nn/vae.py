"""The KL autoencoder between pictures and latents, with the checkpoint's (ldm) key names."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from webui.nn.attention import merge, to_map, to_tokens
from webui.nn.config import VAEConfig
from webui.nn.tiling import Tiling, tiled

VAE_NORM_EPS = 1e-6


@dataclass(frozen=True)
class Posterior:
    """The Gaussian q(z | x) that the encoder gives: mean and logvar (b z h w)."""

    mean: Tensor
    logvar: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """z = mean + std * noise, noise (b z h w) being standard normal."""
        return self.mean + torch.exp(self.logvar / 2) * noise

    def mode(self) -> Tensor:
        """The most likely z (b z h w)."""
        return self.mean


class VAE(nn.Module):
    """Autoencoder of latent diffusion (Rombach et al. 2022, arXiv:2112.10752, section 3.1).

    `encode` and `decode` speak the autoencoder's own z; `to_latent` and `from_latent` scale between it and the
    unit-variance latent that the U-Net sees.
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        z = config.z_channels
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv2d(2 * z, 2 * z, 1) if config.quant_conv else nn.Identity()
        self.post_quant_conv = nn.Conv2d(z, z, 1) if config.quant_conv else nn.Identity()

    def encode(self, x: Tensor) -> Posterior:
        """x: (b 3 h w) in -1..1, h and w multiples of `config.downscale` -> posterior over z (b z h/8 w/8)."""
        return posterior(self.moments(x))

    def decode(self, z: Tensor) -> Tensor:
        """z: (b z h w) -> picture (b 3 8h 8w), about -1..1."""
        return self.decoder(self.post_quant_conv(z))

    def moments(self, x: Tensor) -> Tensor:
        """Mean and log-variance in one tensor: (b 3 h w) -> (b 2z h/8 w/8)."""
        return self.quant_conv(self.encoder(x))

    def encode_tiled(self, x: Tensor, tile: int = 64, overlap: int = 16) -> Posterior:
        """`encode` in the memory of one tile; tile and overlap are in latent pixels.

        Norms and attention see one tile at a time, so the answer is near that of `encode`, not equal to it.
        """
        return posterior(tiled(self.moments, x, Tiling(tile, overlap, unit_in=self.config.downscale)))

    def decode_tiled(self, z: Tensor, tile: int = 64, overlap: int = 16) -> Tensor:
        """`decode` in the memory of one tile; tile and overlap are in latent pixels. As near as `encode_tiled`."""
        return tiled(self.decode, z, Tiling(tile, overlap, unit_out=self.config.downscale))

    def to_latent(self, z: Tensor) -> Tensor:
        """z -> the U-Net's latent, both (b z h w)."""
        return (z - self.config.shift) * self.config.scale_factor

    def from_latent(self, latent: Tensor) -> Tensor:
        """The U-Net's latent -> z, both (b z h w)."""
        return latent / self.config.scale_factor + self.config.shift


def posterior(moments: Tensor) -> Posterior:
    """Mean and log-variance (b 2z h w) as a Gaussian; the clamp keeps its variance finite."""
    mean, logvar = moments.chunk(2, dim=1)
    return Posterior(mean, logvar.clamp(-30.0, 20.0))


class Encoder(nn.Module):
    """Picture (b 3 h w) -> mean and log-variance (b 2z h/8 w/8)."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths, groups = config.widths, config.norm_groups
        self.conv_in = nn.Conv2d(config.in_channels, config.channels, 3, padding=1)
        inputs = (config.channels, *widths[:-1])
        self.down = nn.ModuleList(
            DownLevel(channels, width, config, last=level + 1 == len(widths))
            for level, (channels, width) in enumerate(zip(inputs, widths, strict=True))
        )
        self.mid = Middle(widths[-1], config)
        self.norm_out = nn.GroupNorm(groups, widths[-1], eps=VAE_NORM_EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        h = self.mid(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    """z (b z h w) -> picture (b 3 8h 8w)."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths = config.widths
        self.conv_in = nn.Conv2d(config.z_channels, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1], config)
        inputs = (*widths[1:], widths[-1])
        # numbered by level as in the checkpoint: up.0 is the finest and runs last
        self.up = nn.ModuleList(
            UpLevel(channels, width, config, last=level == 0)
            for level, (channels, width) in enumerate(zip(inputs, widths, strict=True))
        )
        self.norm_out = nn.GroupNorm(config.norm_groups, widths[0], eps=VAE_NORM_EPS)
        self.conv_out = nn.Conv2d(widths[0], config.in_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class DownLevel(nn.Module):
    """Residual blocks of one encoder level, then half the size: (b c h w) -> (b c' h/2 w/2)."""

    def __init__(self, channels: int, out_channels: int, config: VAEConfig, last: bool) -> None:
        super().__init__()
        self.block = res_blocks(channels, out_channels, config.num_res_blocks, config.norm_groups)
        self.downsample = nn.Identity() if last else Downsample(out_channels)

    def forward(self, h: Tensor) -> Tensor:
        return self.downsample(self.block(h))


class UpLevel(nn.Module):
    """Residual blocks of one decoder level, then twice the size: (b c h w) -> (b c' 2h 2w)."""

    def __init__(self, channels: int, out_channels: int, config: VAEConfig, last: bool) -> None:
        super().__init__()
        self.block = res_blocks(channels, out_channels, config.num_res_blocks + 1, config.norm_groups)
        self.upsample = nn.Identity() if last else Upsample(out_channels)

    def forward(self, h: Tensor) -> Tensor:
        return self.upsample(self.block(h))


class Middle(nn.Module):
    """Res, attention over all pixels, Res: (b c h w) -> (b c h w)."""

    def __init__(self, channels: int, config: VAEConfig) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, config.norm_groups)
        self.attn_1 = AttnBlock(channels, config.norm_groups) if config.attention else nn.Identity()
        self.block_2 = ResnetBlock(channels, channels, config.norm_groups)

    def forward(self, h: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(h)))


class ResnetBlock(nn.Module):
    """Two convolutions behind norms, the input added at the end: (b c h w) -> (b c' h w)."""

    def __init__(self, channels: int, out_channels: int, norm_groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(norm_groups, channels, eps=VAE_NORM_EPS)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(norm_groups, out_channels, eps=VAE_NORM_EPS)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return self.nin_shortcut(x) + h


class AttnBlock(nn.Module):
    """One-head self-attention over all pixels, added to its input: (b c h w) -> (b c h w)."""

    def __init__(self, channels: int, norm_groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_groups, channels, eps=VAE_NORM_EPS)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        q, k, v = (to_tokens(conv(normed))[:, None] for conv in (self.q, self.k, self.v))  # (b 1 hw c)
        out = to_map(merge(F.scaled_dot_product_attention(q, k, v)), *x.shape[-2:])
        return x + self.proj_out(out)


class Downsample(nn.Module):
    """Halve both sides by a strided convolution: (b c h w) -> (b c h/2 w/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        # the checkpoints were trained with padding on the right and below alone
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double both sides by nearest neighbour, then convolve: (b c h w) -> (b c 2h 2w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def res_blocks(channels: int, out_channels: int, count: int, norm_groups: int) -> nn.Sequential:
    """`count` residual blocks, the first of which changes the width."""
    inputs = (channels, *[out_channels] * (count - 1))
    return nn.Sequential(*(ResnetBlock(width, out_channels, norm_groups) for width in inputs))
