"""What a network's output means, and how the rows of many images become one call.

Names: `alpha_bar` is the papers' cumulative alpha; x here is variance-exploding, so the network is shown x * c_in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from webui.diffusion.guidance import compose, image_pull, rescale
from webui.diffusion.schedules import NoiseSchedule
from webui.diffusion.types import Answer, Eval

Prediction = Literal["epsilon", "v", "sample"]


def c_in(sigma: Tensor | float) -> Tensor | float:
    """Input scale, Karras et al. 2022 (arXiv:2206.00364), Table 1, column VP: x * c_in has unit variance."""
    return 1 / (1 + sigma**2) ** 0.5


def to_denoised(prediction: Prediction, output: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """Network output -> predicted x0, both (... c h w). v: Salimans & Ho 2022 (arXiv:2202.00512), Appendix D."""
    if prediction == "epsilon":
        return x - sigma * output
    if prediction == "v":
        return x / (1 + sigma**2) - output * sigma / (1 + sigma**2) ** 0.5
    return output


def from_denoised(prediction: Prediction, denoised: Tensor, x: Tensor, sigma: Tensor | float) -> Tensor:
    """Inverse of `to_denoised`: the output with which a network would say `denoised`."""
    if prediction == "epsilon":
        return (x - denoised) / sigma
    if prediction == "v":
        return (x / (1 + sigma**2) - denoised) * (1 + sigma**2) ** 0.5 / sigma
    return denoised


def q_sample(x0: Tensor, sigma: Tensor | float, eps: Tensor) -> Tensor:
    """The forward process in variance-exploding form: x0 + sigma * eps, all (... c h w)."""
    return x0 + sigma * eps


def q_sample_vp(x0: Tensor, alpha_bar: Tensor | float, eps: Tensor) -> Tensor:
    """The forward process q(z_t | z_0), Ho et al. 2020 (arXiv:2006.11239), eq. 4: what a network is trained on."""
    return alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * eps


def training_target(prediction: Prediction, x0: Tensor, alpha_bar: Tensor | float, eps: Tensor) -> Tensor:
    """What the network is to answer at q_sample_vp(x0, alpha_bar, eps); all (b c h w), alpha_bar (b 1 1 1)."""
    if prediction == "epsilon":
        return eps
    if prediction == "v":
        return alpha_bar**0.5 * eps - (1 - alpha_bar) ** 0.5 * x0
    return x0


@dataclass(frozen=True)
class Cond:
    """One conditioning. context: (n d), y: (adm) or None, concat: extra input channels (c h w) or None."""

    context: Tensor
    y: Tensor | None = None
    concat: Tensor | None = None


@dataclass(frozen=True)
class Guidance:
    """How one image is guided at one step.

    conds: conditionings with their weights (several come from AND in a prompt); uncond: the negative prompt.
    rescale: phi of arXiv:2305.08891, 0 = off. keep_uncond: compute the uncond row even at scale 1 (CFG++ samplers).
    bare: of an edit model, the uncond without the picture that the other rows are shown; image_scale: see `image_pull`.
    """

    conds: Sequence[tuple[Cond, float]]
    uncond: Cond
    cfg_scale: float = 1.0
    rescale: float = 0.0
    keep_uncond: bool = False
    bare: Cond | None = None
    image_scale: float = 1.0

    @property
    def needs_uncond(self) -> bool:
        """At scale 1 one cond of weight 1 is the whole answer; the uncond row would cancel out."""
        scaled = self.cfg_scale != 1 or [weight for _, weight in self.conds] != [1]
        return self.keep_uncond or scaled or self.needs_bare

    @property
    def needs_bare(self) -> bool:
        """At image scale 1 the row without the picture would cancel out."""
        return self.bare is not None and self.image_scale != 1

    def rows(self) -> list[Cond]:
        """The conds in order, then the uncond where it is needed, then `bare`."""
        uncond = [self.uncond] if self.needs_uncond else []
        bare = [self.bare] if self.bare is not None and self.needs_bare else []
        return [cond for cond, _ in self.conds] + uncond + bare

    def pulled(self, guided: Tensor, rows: Sequence[Tensor]) -> Tensor:
        """What was guided by text, guided by the picture too. rows: the outputs (c h w) of all rows."""
        return guided + image_pull(rows[-2], rows[-1], self.image_scale) if self.needs_bare else guided


@dataclass(frozen=True)
class Call:
    """The arguments of one model call.

    x: (b c h w), timesteps: (b,), context: (b n d), y: (b adm) or None. For each row, places: (image, row of that
    image) it belongs to; sigmas: its noise level; steps: its solver step.
    """

    x: Tensor
    timesteps: Tensor
    context: Tensor
    y: Tensor | None
    places: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    steps: tuple[int, ...]


Model = Callable[[Call], Tensor]
"""model(call) -> output (b c h w)."""


def stack(evals: Sequence[Eval], guidances: Sequence[Guidance], schedule: NoiseSchedule) -> list[Call]:
    """Rows of all images -> model calls. Rows of equal shapes share one call, whatever their sigmas."""
    groups: dict[tuple[object, ...], list[tuple[int, int]]] = defaultdict(list)
    rows = [guidance.rows() for guidance in guidances]
    for image, conds in enumerate(rows):
        for row, cond in enumerate(conds):
            groups[_shape_key(evals[image].x, cond)].append((image, row))
    return [
        _call([evals[i] for i, _ in places], [rows[i][r] for i, r in places], schedule, tuple(places))
        for places in groups.values()
    ]


def combine(
    evals: Sequence[Eval],
    guidances: Sequence[Guidance],
    outputs: Mapping[tuple[int, int], Tensor],
    prediction: Prediction,
) -> list[Answer]:
    """Network outputs (c h w) by place -> one guided answer per image.

    Guidance acts on the raw outputs, as in arXiv:2305.08891; at fixed x that is the same as on x0 but for the rescale.
    """
    return [
        _answer(wish, guidance, [outputs[image, row] for row in range(len(guidance.rows()))], prediction)
        for image, (wish, guidance) in enumerate(zip(evals, guidances, strict=True))
    ]


def denoise(
    model: Model,
    evals: Sequence[Eval],
    guidances: Sequence[Guidance],
    schedule: NoiseSchedule,
    prediction: Prediction,
) -> list[Answer]:
    """Answer many samplers with as few model calls as their shapes allow (one, when they are alike).

    The model is called on the device and in the dtype of the conds' contexts, the answers are on and in the latents'.
    """
    outputs: dict[tuple[int, int], Tensor] = {}
    for call in stack(evals, guidances, schedule):
        outputs |= zip(call.places, model(call).unbind(), strict=True)
    return combine(evals, guidances, outputs, prediction)


def _shape_key(x: Tensor, cond: Cond) -> tuple[object, ...]:
    parts = (x, cond.context, cond.y, cond.concat)
    return tuple(None if part is None else (part.shape, part.dtype) for part in parts)


def _call(
    evals: Sequence[Eval], conds: Sequence[Cond], schedule: NoiseSchedule, places: tuple[tuple[int, int], ...]
) -> Call:
    context = torch.stack([cond.context for cond in conds])  # (b n d)
    x = torch.stack([_network_input(wish, cond) for wish, cond in zip(evals, conds, strict=True)])  # (b c h w)
    timesteps = torch.tensor([schedule.sigma_to_timestep(wish.sigma) for wish in evals])
    y = [cond.y for cond in conds if cond.y is not None]
    return Call(
        x.to(context),
        timesteps.to(context.device, torch.float64 if context.dtype == torch.float64 else torch.float32),
        context,
        torch.stack(y) if y else None,
        places,
        tuple(wish.sigma for wish in evals),
        tuple(wish.step for wish in evals),
    )


def _network_input(wish: Eval, cond: Cond) -> Tensor:
    x = wish.x * c_in(wish.sigma)
    return x if cond.concat is None else torch.cat([x, cond.concat.to(x)])


def _answer(wish: Eval, guidance: Guidance, outputs: Sequence[Tensor], prediction: Prediction) -> Answer:
    rows = [output.to(wish.x) for output in outputs]
    if not guidance.needs_uncond:
        return Answer(to_denoised(prediction, rows[0], wish.x, wish.sigma))
    weights = [weight for _, weight in guidance.conds]
    conds, uncond = rows[: len(weights)], rows[len(weights)]
    guided = guidance.pulled(compose(conds, weights, uncond, guidance.cfg_scale), rows)
    if guidance.rescale:
        guided = rescale(guided, compose(conds, weights, uncond, 1.0), guidance.rescale)
    return Answer(*(to_denoised(prediction, output, wish.x, wish.sigma) for output in (guided, uncond)))
