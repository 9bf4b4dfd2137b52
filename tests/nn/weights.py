"""Random weights in which nothing is zero: a convolution that starts at zero would agree with anything."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every parameter: matrices keep the variance of what flows through them, norms lie around 1."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.copy_(drawn(name, noise))
    return module.eval()


def drawn(name: str, noise: Tensor) -> Tensor:
    """Standard noise as the parameter `name`."""
    if noise.ndim > 1:
        return noise / noise[0].numel() ** 0.5
    return noise * 0.1 if name.endswith("bias") else 1 + noise * 0.2


def draw(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal inputs, the same at every precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """||ours - theirs|| / ||theirs||, worked out in float64."""
    difference = ours.double() - theirs.double()
    return (difference.norm() / theirs.double().norm()).item()
