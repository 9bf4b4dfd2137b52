"""Orthogonal fine-tuning: a weight's channels are turned block by block, and their angles stay (OFT, BOFT).

There are two families of files. Those of kohya's and LyCORIS's trainers turn the outputs, those of peft the inputs.
Sources: OFT, Qiu et al. 2023, arXiv:2306.07280; BOFT, Liu et al. 2023, arXiv:2311.06243.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def skew(blocks: Tensor, limit: float | None = None) -> Tensor:
    """blocks minus their transposes: (... b b); the whole shortened to the norm `limit` where it is longer."""
    turned = blocks - blocks.transpose(-1, -2)
    norm = float(turned.norm())
    return turned * (limit / norm) if limit and norm > limit else turned


def cayley(q: Tensor) -> Tensor:
    """(I + q) (I - q)^-1, a rotation for every skew q: (... b b)."""
    eye = torch.eye(q.shape[-1], dtype=q.dtype, device=q.device)
    return torch.linalg.solve(eye - q, eye + q, left=False)


def cayley_series(q: Tensor, terms: int) -> Tensor:
    """The beginning of the same as a power series, I + 2q + 2q^2 + 2q^3 + q^4 for 5 terms: (... b b).

    peft trains with this in the place of the inverse; its last term counts once, and three terms are as four.
    """
    factors = (1.0, 2.0)[:terms] if terms < 3 else (1.0, *(2.0,) * (max(terms, 4) - 2), 1.0)
    power = torch.eye(q.shape[-1], dtype=q.dtype, device=q.device).expand_as(q)
    total = torch.zeros_like(q)
    for factor in factors:
        total = total + factor * power
        power = power @ q
    return total


def turn_outputs(weight: Tensor, rotations: Tensor) -> Tensor:
    """Each block of outputs times its rotation, transposed: weight (out ...), rotations (n b b), n b = out."""
    count, size, _ = rotations.shape
    return torch.einsum("kij,ki...->kj...", rotations, weight.unflatten(0, (count, size))).flatten(0, 1)


def turn_outputs_butterfly(weight: Tensor, rotations: Tensor) -> Tensor:
    """Stages of rotations that mix ever more distant outputs: weight (out ...), rotations (m n b b), n b = out.

    Stage i pairs runs of b/2 outputs that lie b/2 * 2^i apart.
    """
    half = rotations.shape[-1] // 2
    for stage, blocks in enumerate(rotations):
        apart = half * 2**stage
        mixed = weight.unflatten(0, (-1, 2, apart)).transpose(1, 2).flatten(0, 2)
        mixed = torch.einsum("kij,kj...->ki...", blocks, mixed.unflatten(0, blocks.shape[:2])).flatten(0, 1)
        weight = mixed.unflatten(0, (-1, apart, 2)).transpose(1, 2).flatten(0, 2)
    return weight


def packed_skew(packed: Tensor) -> Tensor:
    """Skew matrices from the numbers above their diagonals, row by row: (n b(b-1)/2) -> (n b b)."""
    size = (1 + math.isqrt(1 + 8 * packed.shape[1])) // 2
    rows, columns = torch.triu_indices(size, size, 1, device=packed.device)
    upper = packed.new_zeros(len(packed), size, size)
    upper[:, rows, columns] = packed
    return upper - upper.transpose(1, 2)


def shortened(q: Tensor, limit: float) -> Tensor:
    """Skew matrices (n b b), each with a norm of at most limit / sqrt(n): peft's constrained OFT."""
    limit = limit / math.sqrt(len(q))
    norms = torch.linalg.vector_norm(q, dim=(1, 2), keepdim=True)
    return torch.where(norms <= limit, q, q * (limit / norms))


def turn_inputs(weight: Tensor, rotations: Tensor) -> Tensor:
    """W R^T with R block-diagonal, inputs of a convolution counted with its kernel: weight (out ...), (n b b).

    One rotation for all blocks is repeated as often as it fits.
    """
    size = rotations.shape[-1]
    flat = weight.flatten(1).unflatten(1, (-1, size))  # (out n b)
    turned = torch.einsum("onj,nij->oni", flat, rotations.expand(flat.shape[1], size, size))
    return turned.reshape(weight.shape)


def turn_inputs_butterfly(weight: Tensor, rotations: Tensor) -> Tensor:
    """The same in stages, each behind a permutation of the inputs: weight (out ...), rotations (m n b b)."""
    flat, stages = weight.flatten(1), len(rotations)
    for stage, blocks in enumerate(rotations):
        order = butterfly_order(flat.shape[1], blocks.shape[0] // 2**stage, blocks.shape[-1] // 2, stages)
        order = order.to(flat.device)
        flat = turn_inputs(flat[:, order.argsort()], blocks)[:, order]
    return flat.reshape(weight.shape)


def butterfly_order(width: int, blocks: int, run: int, stages: int) -> Tensor:
    """Positions 0..width-1 with the even runs of each block before its odd ones: (width,). In order for one stage."""
    positions = torch.arange(width)
    if stages == 1:
        return positions
    runs = positions.view(blocks, -1, run)  # (blocks runs run)
    return torch.cat([runs[:, 0::2], runs[:, 1::2]], dim=1).flatten()
