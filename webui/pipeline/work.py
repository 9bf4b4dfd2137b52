"""What a pass yields when it needs a model, and what it is sent back. One generator is one picture.

A pass may be told to stop early: `StopSampling` is thrown in where it waits for a `Denoise`, and it goes on with the
latest prediction it has, so that an interrupted job still shows what it had reached.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from webui.diffusion.denoiser import Cond, Guidance
from webui.diffusion.schedules import NoiseSchedule
from webui.diffusion.types import Eval
from webui.ext.passes import PassInfo, Start
from webui.ext.scope import Scope
from webui.networks.acted import ActedFile
from webui.nn.config import ModelConfig
from webui.prompt.schedule import Clock
from webui.prompt.tags import ExtraNetwork
from webui.schema.names import Emphasis

CPU = torch.device("cpu")


@dataclass(frozen=True)
class ModelFacts:
    """What a pass must know of the loaded model: never the modules themselves. device: where latents are sampled.

    picture: the number of this pass's picture in its job, where extensions or control units take part; None where
    nobody does: then the pass announces nothing to them.
    """

    config: ModelConfig
    schedule: NoiseSchedule
    device: torch.device = CPU
    picture: int | None = None

    @property
    def multiple(self) -> int:
        """Sides in pixels are padded to a multiple of this."""
        return self.config.vae.downscale

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """(c h w) of the latent of a picture whose sides are padded to `multiple`."""
        return self.config.vae.z_channels, -(-height // self.multiple), -(-width // self.multiple)


@dataclass(frozen=True)
class Texts:
    """The encoded prompts of one picture at one step. conds: those that act at once, with their weights; acted: the
    files that have a part in them, and in the pass that they are for; bare: see `Guidance`."""

    conds: tuple[tuple[Cond, float], ...]
    uncond: Cond
    acted: tuple[ActedFile, ...] = ()
    bare: Cond | None = None


@dataclass(frozen=True)
class Networks:
    """The networks that stand on the model at a step of a pass. tags: as they are in the prompt; first: the clock of
    the picture's first pass, whose first step decides how strongly text encoders are changed."""

    tags: tuple[ExtraNetwork, ...]
    clock: Clock
    first: Clock
    step: int = 0


@dataclass(frozen=True)
class EncodeText:
    """Wants `Texts`. prompts: the texts of one step, with their weights; width, height: the picture's size in pixels,
    which SDXL is told; networks: None leaves those that stand."""

    prompts: tuple[tuple[str, float], ...]
    negative_prompt: str
    clip_skip: int
    width: int
    height: int
    emphasis: Emphasis = "Original"
    networks: Networks | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompts and the negative prompt."""
        return (*(text for text, _ in self.prompts), self.negative_prompt)


@dataclass(frozen=True)
class EncodeImage:
    """Wants the latent (c h w) of an image (3 8h 8w) in -1..1; noise (c h w) samples the posterior."""

    image: Tensor
    noise: Tensor


@dataclass(frozen=True)
class EstimateDepth:
    """Wants the inverse depth (s s), near = large, that a depth model's estimator sees in an image (3 s s) in -1..1; s
    is the side that it works at."""

    image: Tensor


@dataclass(frozen=True)
class DecodeLatent:
    """Wants the image (3 8h 8w) in 0..1 of a latent (c h w). picture: of which finished picture extensions see it."""

    latent: Tensor
    picture: int | None = None


@dataclass(frozen=True)
class UseModel:
    """Wants the `ModelFacts` of another checkpoint, which does all work from now on. The passes of a batch go on
    together once all of them have come to this point."""

    name: str


@dataclass(frozen=True)
class OpenPass:
    """Wants the `Scope` of what is added to a sampling pass, or None; it may change start and guidance."""

    info: PassInfo
    start: Start
    guidance: Guidance


@dataclass(frozen=True)
class EndSampling:
    """Wants the latent (c h w) that the hooks make of what was sampled in a scope, which ends. whole: nothing is left
    for a refiner, which goes on with the latent as it is."""

    scope: Scope
    latent: Tensor
    whole: bool = True


@dataclass(frozen=True)
class Denoise:
    """Wants `(x, Answer)` for one evaluation of the sampler.

    steps: solver steps of this pass; part, parts: which pass of the picture this is; scope: what is added to it;
    networks: None leaves those that stand.
    """

    eval: Eval
    guidance: Guidance
    steps: int
    part: int = 0
    parts: int = 1
    scope: Scope | None = None
    networks: Networks | None = None

    @property
    def fraction(self) -> float:
        """How far the picture is once this evaluation is answered, 0 to 1."""
        own = self.eval.progress if self.eval.progress is not None else (self.eval.step + 1) / max(self.steps, 1)
        return min((self.part + min(own, 1.0)) / self.parts, 1.0)


Work = EncodeText | EncodeImage | EstimateDepth | DecodeLatent | UseModel | OpenPass | Denoise | EndSampling


@dataclass(frozen=True)
class Picture:
    """What a pass returns: the picture (PIL, RGB), what belongs into its PNG text, and warnings for the user."""

    image: Image
    infotext: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


Pass = Generator[Work, Any, Picture]


class StopSampling(Exception):
    """Thrown into a pass: make a picture of what there is."""


class NothingYet(Exception):
    """Raised by a pass that was stopped before it had anything to show."""
