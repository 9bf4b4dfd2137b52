"""Region prompts: parts of the picture with prompts of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from .areas import Region, read_regions
from .couple import Couple, composed
from .painting import paints_of
from .shares import shares_of

if TYPE_CHECKING:
    from torch import Tensor

    from webui.ext import Cond, JobContext, PassContext, PictureContext, StepContext


@dataclass
class Mixture:
    """The shares (1 + r, h, w) of a pass whose predictions are laid together; None where none are."""

    shares: Tensor | None = None


@dataclass
class Reading:
    """The regions of a job, once they have been read."""

    regions: tuple[Region, ...] | None = None


def prepare_job(job: JobContext) -> None:
    """Refuse what cannot be read before anything is drawn."""
    wanted(job)


def open_pass(p: PassContext) -> Iterator[None]:
    """Encode the prompts of the regions and give each its part of this pass."""
    regions = wanted(p.job)
    if regions:
        conds = [p.encode(prompt_of(p, region), p.negative_prompt)[0] for region in regions]
        shares = shares_of(p, regions, p.params["base_ratio"])
        begin = by_attention if p.params["mode"] == "attention" else by_latent
        begin(p, conds, shares)
    yield


def combine(s: StepContext) -> Tensor | None:
    """Lay the predictions of the prompts together, in the mode "latent"."""
    shares = s.state(Mixture).shares
    return None if shares is None else composed(s, shares)


def on_image(img: PictureContext) -> None:
    """The regions are told in the text that other programs read, too."""
    if wanted(img.job):
        img.infotext["Regions"] = img.params["regions"].strip()


def wanted(job: JobContext) -> tuple[Region, ...]:
    """The regions of a job. Raises BadRequest."""
    if not job.params["enabled"]:
        return ()
    reading = job.state(Reading)
    if reading.regions is None:
        painting = job.params["painting"]
        reading.regions = read_regions(job.params["regions"], paints_of(job.image(painting)) if painting else None)
    return reading.regions


def prompt_of(p: PassContext, region: Region) -> str:
    parts = (p.prompt if p.params["common"] else "", region.prompt)
    return ", ".join(part for part in parts if part)


def by_attention(p: PassContext, conds: list[Cond], shares: Tensor) -> None:
    """Regions read their own words. What acts on the whole picture (SDXL's pooled text) is averaged by area."""
    couple = Couple([cond.context for cond in conds], shares, lambda: p.call.is_cond)
    p.replace_attn([name for name in p.attentions if name.endswith("attn2")], couple)
    area = shares.mean(dim=(1, 2))
    guidance = p.guidance
    averaged = tuple((with_pooled(cond, conds, area), weight) for cond, weight in guidance.conds)
    p.guidance = replace(guidance, conds=averaged)


def with_pooled(cond: Cond, regions: list[Cond], area: Tensor) -> Cond:
    """The cond with the mean of all y, weighted by area (1 + r). An upscaler's noise level is no text's."""
    if cond.y is None or cond.y.ndim == 0:
        return cond
    pooled = torch.stack([cond.y, *(region.y for region in regions)])
    return replace(cond, y=(area.to(pooled)[:, None] * pooled).sum(0))


def by_latent(p: PassContext, conds: list[Cond], shares: Tensor) -> None:
    """Each prompt is a row of its own in every call of the U-Net; the main one is left out where it says nothing."""
    p.state(Mixture).shares = shares
    guidance = p.guidance
    base = tuple(guidance.conds) if shares[0].any() else ()
    # concat-conditioned models: the further channels are the same for all prompts
    concat = guidance.conds[0][0].concat
    p.guidance = replace(guidance, conds=(*base, *((replace(cond, concat=concat), 1.0) for cond in conds)))
