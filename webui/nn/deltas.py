"""What low-rank networks add to a weight: LoRA, LoHa, LoKr, GLoRA; and DoRA, which then sets lengths.

Weights are (out in) or (out in h w); in file formats a factor may come with more or fewer axes of length 1 than it
needs, so factors are flattened here and the sum takes the weight's shape at the end. All arithmetic is the caller's
dtype, which should be float32.
"""

from __future__ import annotations

import torch
from torch import Tensor


def lora_delta(up: Tensor, down: Tensor, mid: Tensor | None = None) -> Tensor:
    """up @ down (Hu et al. 2021, arXiv:2106.09685, section 4.1): (out r), (r in ...) -> (out in ...).

    mid: (r r h w), the core of a convolution in Tucker's form; `down` is then (r in).
    """
    up = up.flatten(1)
    if mid is not None:
        return tucker(mid, up.t(), down.flatten(1))
    return (up @ down.flatten(1)).unflatten(1, down.shape[1:])


def loha_delta(
    w1_a: Tensor, w1_b: Tensor, w2_a: Tensor, w2_b: Tensor, t1: Tensor | None = None, t2: Tensor | None = None
) -> Tensor:
    """The product, number by number, of two low-rank matrices (Hyeon-Woo et al. 2021, arXiv:2108.06098, eq. 1).

    w_a: (out r), w_b: (r in...) -> (out in...). With cores t (r r h w): w_a (r out), w_b (r in) -> (out in h w).
    """
    if t1 is not None and t2 is not None:
        return tucker(t1, w1_a, w1_b) * tucker(t2, w2_a, w2_b)
    return (w1_a @ w1_b) * (w2_a @ w2_b)


def lokr_delta(w1: Tensor, w2: Tensor) -> Tensor:
    """The Kronecker product of two matrices: (a b), (c d ...) -> (ac bd ...) (Yeh et al. 2023, arXiv:2309.14859)."""
    return torch.kron(w1.reshape(*w1.shape, *(1,) * (w2.ndim - w1.ndim)), w2.contiguous())


def glora_delta(weight: Tensor, a1: Tensor, a2: Tensor, b1: Tensor, b2: Tensor, bm: Tensor | None = None) -> Tensor:
    """W a1 a2 + b1 b2 (Chavan et al. 2023, arXiv:2306.07967, eq. 10, without its diagonal and bias).

    weight: (out in ...), a1: (in r), a2: (r in), b1: (out r), b2: (r in ...), bm: (r r h w) -> (out in ...).
    """
    through = a1.flatten(1) @ a2.flatten(1)  # (in in)
    turned = torch.einsum("oi...,ij->oj...", weight, through)
    return turned + lora_delta(b1, b2, bm).reshape(weight.shape)


def tucker(core: Tensor, outs: Tensor, ins: Tensor) -> Tensor:
    """core: (p q ...), outs: (p out), ins: (q in) -> (out in ...)."""
    return torch.einsum("pq...,po,qi->oi...", core, outs, ins)


def with_lengths(weight: Tensor, lengths: Tensor, axis: int) -> Tensor:
    """The weight with its rows (axis 0) or columns (axis 1) at these lengths (DoRA: Liu et al. 2024,
    arXiv:2402.09353, eq. 5). weight: (out in ...), lengths: as many as the axis has."""
    others = [dim for dim in range(weight.ndim) if dim != axis]
    norms = torch.linalg.vector_norm(weight, dim=others, keepdim=True) + torch.finfo(weight.dtype).eps
    return weight * (lengths.reshape(norms.shape) / norms)


def times_channels(weight: Tensor, factors: Tensor, axis: int) -> Tensor:
    """Each output (axis 0) or input channel (axis 1) times its factor (IA3: Liu et al. 2022, arXiv:2205.05638,
    section 3.3). weight: (out in ...), factors: as many as the axis has."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    return weight * factors.reshape(shape)
