"""Whole passes on shrunk models: ours, and diffusers' pipelines with the same weights, the same noise and our sigmas.

diffusers' schedulers are given the noise levels and the timesteps that our sampler visits: left alone they round those
of Karras et al. to whole timesteps, and some keep a little noise at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from torch import Tensor, nn
from transformers import CLIPTokenizer

from tests.parity.families import TOKENIZER, Theirs, build, save_folder, shrunk
from tests.published import Published
from webui.checkpoints.load import load_checkpoint
from webui.diffusion.noise import NoiseSource
from webui.engine.control import Control
from webui.engine.devices import Placement
from webui.engine.drive import drive
from webui.engine.executor import Executor
from webui.networks.tags import Catalogues
from webui.pipeline.sampling import full_sigmas
from webui.pipeline.work import DecodeLatent, ModelFacts, Pass
from webui.schema.requests import Request

SEED = 7
SAMPLERS = {"Euler": "Automatic", "DDIM": "Automatic", "DPM++ 2M": "Karras"}
"""Sampler -> schedule."""
Execute = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True)
class Case:
    """A family with random weights, as diffusers has it and as we have loaded it."""

    known: Published
    theirs: Theirs
    executor: Executor

    @property
    def facts(self) -> ModelFacts:
        return self.executor.facts


def case_of(name: str, folder: Path) -> Case:
    """A family by its name in `PUBLISHED`, written into a folder and loaded from there."""
    known = shrunk(name)
    theirs = build(known)
    model = load_checkpoint(save_folder(theirs, known, folder / name))
    placement = Placement(torch.device("cpu"), torch.float32)
    return Case(known, theirs, Executor(model, placement, Catalogues.of(folder)))


def source() -> NoiseSource:
    return NoiseSource(SEED)


def generator() -> torch.Generator:
    """What draws the same noise in diffusers."""
    return torch.Generator().manual_seed(SEED)


@torch.no_grad()
def our_latents(one: Pass, executor: Executor, more: Mapping[type, Execute] | None = None) -> list[Tensor]:
    """The latents (1 c h w) that a pass has decoded, in order. more: further kinds of work."""
    seen: list[Tensor] = []

    def decode(items: Sequence[DecodeLatent]) -> list[Tensor]:
        seen.extend(item.latent[None] for item in items)
        return [executor.decode(item) for item in items]

    drive([one], {**executor.table, DecodeLatent: decode, **(more or {})}, Control())
    return seen


def tokenizer(pad: int) -> CLIPTokenizer:
    """transformers' tokenizer with the words of the shrunk models. pad: the id that fills what is left."""
    names = {index: piece for piece, index in TOKENIZER["vocab"].items()}
    merges = [tuple(merge.split()) for merge in TOKENIZER["merges"]]
    return CLIPTokenizer(TOKENIZER["vocab"], merges, pad_token=names[pad], model_max_length=77)


def parts(case: Case) -> dict[str, Any]:
    """The models and tokenizers that diffusers' pipelines take, by their parameters."""
    folders: list[str] = list(case.theirs.texts)
    texts: dict[str, nn.Module | CLIPTokenizer] = dict(case.theirs.texts)
    for folder, config in zip(folders, case.executor.config.texts, strict=True):
        texts[folder.replace("text_encoder", "tokenizer")] = tokenizer(config.pad_id)
    return {"unet": case.theirs.unet, "vae": case.theirs.vae, **texts}


def quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class Visits:
    """Sets the noise levels and timesteps of a scheduler to ours, in the place of its own."""

    ours: Tensor
    times: Tensor

    def set_timesteps(self, steps: int, *_args: Any, **_options: Any) -> None:
        super().set_timesteps(steps)  # type: ignore[misc]
        assert len(self.times) == steps
        self.sigmas, self.timesteps = self.ours, self.times


class Euler(Visits, EulerDiscreteScheduler):
    """Its sigmas decide how strong the first noise is."""


class DPM(Visits, DPMSolverMultistepScheduler):
    """Starts at our first sigma; its own latents have unit variance there, as if sigma were infinite."""

    def set_timesteps(self, steps: int, *_args: Any, **_options: Any) -> None:
        super().set_timesteps(steps)
        self.init_noise_sigma = float(self.ours[0] / (1 + self.ours[0] ** 2) ** 0.5)


class DDIM(DDIMScheduler):
    """Works on whole timesteps, which are those of our schedule of the same name."""

    times: Tensor

    def set_timesteps(self, steps: int, *_args: Any, **_options: Any) -> None:
        super().set_timesteps(steps)
        assert torch.allclose(self.times, self.timesteps.float())


def scheduler_of(request: Request, case: Case) -> Any:
    """diffusers' scheduler for the sampler of a request."""
    sigmas = full_sigmas(request, case.facts, request.steps)
    given = {name: value for name, value in case.known.scheduler.items() if name != "_class_name"}
    given["steps_offset"] = 1  # the pipelines warn of any other
    if request.sampler == "Euler":
        made: Any = Euler(**given)
    elif request.sampler == "DDIM":
        leading = {"timestep_spacing": "leading", "set_alpha_to_one": True, "clip_sample": False}
        made = DDIM(**given, **leading)
    else:
        made = DPM(**given, algorithm_type="dpmsolver++", solver_order=2)
    schedule = case.facts.schedule
    made.ours = sigmas.float()
    made.times = torch.tensor([schedule.sigma_to_timestep(float(sigma)) for sigma in sigmas[:-1]])
    return made


@torch.no_grad()
def their_init(case: Case, image: Tensor) -> Tensor:
    """The latent (1 c h w) of an image (3 8h 8w) in -1..1 by diffusers' autoencoder, with our draw of its posterior."""
    vae = case.theirs.vae
    found = vae.encode(image[None]).latent_dist
    z = found.mean + found.std * source().posterior(found.mean.shape[1:])
    return z * vae.config.scaling_factor
