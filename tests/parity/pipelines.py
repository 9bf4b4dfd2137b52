"""Whole passes on shrunk models: ours, and diffusers' pipelines with the same weights, noise and noise levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTokenizer

from tests.parity.families import TOKENIZER, Theirs, build, save_folder, shrunk
from tests.parity.schedulers import scheduler_of
from tests.published import Published
from webui.checkpoints.load import load_checkpoint
from webui.diffusion.noise import NoiseSource
from webui.engine.control import Control
from webui.engine.devices import Placement
from webui.engine.drive import drive
from webui.engine.executor import Executor
from webui.networks.tags import Catalogues
from webui.pipeline.work import DecodeLatent, ModelFacts, Pass
from webui.schema.requests import ImageRef, Request

SEED = 7
WIDTH, HEIGHT = 96, 64
WORDS: dict[str, Any] = {"prompt": "a photo of a red ball", "negative_prompt": "blue cat"}
FIELDS: dict[str, Any] = {**WORDS, "steps": 10, "cfg_scale": 5.0, "width": WIDTH, "height": HEIGHT}
"""What every request asks for."""
STRENGTH, THEIR_STRENGTH = 0.55, 0.6
"""Ours runs int(10 * 0.55) + 1 = 6 of 10 steps, diffusers int(10 * 0.6)."""
REF = ImageRef(sha256="0" * 64)
"""Stands for a picture in a request: passes are handed the picture itself."""
PLAIN: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
"""What pipelines of SD 1.x and SD 2.x are to do without."""
BOX = (16, 8, 64, 48)
"""What is masked, in whole pixels of the latent: left, top, right, bottom."""
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


def picture() -> Image.Image:
    """Soft blotches of colour."""
    blocks = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def mask() -> Image.Image:
    """White in `BOX`."""
    found = Image.new("L", (WIDTH, HEIGHT))
    found.paste(255, BOX)
    return found


def their_scheduler(request: Request, case: Case) -> Any:
    """diffusers' scheduler for the sampler of a request."""
    return scheduler_of(request, case.facts, case.known.scheduler)


def pipeline_of(case: Case, scheduler: Any, one: type, xl: type) -> Any:
    """diffusers' pipeline with the weights of a case: `xl` for SDXL, else `one`."""
    models: dict[str, Any] = {**parts(case), "scheduler": scheduler}
    return xl(**models, add_watermarker=False) if case.facts.config.family == "sdxl" else one(**models, **PLAIN)


def their_latents(pipeline: Any, request: Request, **given: Any) -> Tensor:
    """The latents (1 c h w) that a pipeline of diffusers comes to. given: what else it wants."""
    pipeline.set_progress_bar_config(disable=True)
    found: Tensor = pipeline(
        prompt=request.prompt, negative_prompt=request.negative_prompt or None, num_inference_steps=request.steps,
        guidance_scale=request.cfg_scale, generator=generator(), output_type="latent", **given,
    ).images  # fmt: skip
    return found


@torch.no_grad()
def their_init(case: Case, image: Tensor) -> Tensor:
    """The latent (1 c h w) of an image (3 8h 8w) in -1..1 by diffusers' autoencoder, with our draw of its posterior."""
    vae = case.theirs.vae
    found = vae.encode(image[None]).latent_dist
    z = found.mean + found.std * source().posterior(found.mean.shape[1:])
    return z * vae.config.scaling_factor
