"""Does the work that passes yield, on one loaded model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.control.adapters import Base
from webui.diffusion.denoiser import Call, denoise
from webui.diffusion.schedules import NoiseSchedule
from webui.diffusion.types import Answer
from webui.engine.devices import Placement
from webui.engine.memory.estimates import TEXT_BYTES, Work
from webui.engine.memory.machine import Machine
from webui.engine.memory.model_parts import ModelParts
from webui.engine.memory.residency import Residency
from webui.engine.prompts import PromptEncoder
from webui.engine.vae_work import VaeWork
from webui.engine.worn import WornNetworks
from webui.ext.sampling import denoise_scoped
from webui.networks.tags import Catalogues
from webui.nn.taps import with_inputs
from webui.nn.vae import VAE
from webui.pipeline.work import DecodeLatent, Denoise, EncodeImage, EncodeText, EstimateDepth, ModelFacts, Texts
from webui.schema.errors import NumericError

FIRST_WEIGHT = "input_blocks.0.0.weight"


class Executor:
    """Answers the work of passes with a model's modules. One per loaded model; used by one thread alone.

    note: where warnings of the present job go. casts: how often the VAE's number format was changed. networks: what a
    prompt may name; name: of the checkpoint. memory: of the device. drawing: what a U-Net call of the job takes.
    """

    def __init__(
        self,
        model: LoadedModel,
        placement: Placement,
        networks: Catalogues,
        name: str = "",
        memory: Residency | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.facts = ModelFacts(model.config, NoiseSchedule(model.config.schedule), placement.device)
        self.config = model.config
        self.unet = model.unet
        self.casts = 0
        self.note: Callable[[str], None] = ignore
        self._model = model
        self._placement = placement
        self._memory = memory or Residency(None)
        self._looked_at: tuple[Tensor, Tensor] | None = None
        self.parts = ModelParts(model, name)
        self.drawing = Work()
        self.vae_work = VaeWork(
            model.config, self.parts, self._memory, machine or Machine(), lambda line: self.note(line)
        )
        self.worn = WornNetworks(
            model, networks, lambda line: self.note(line), self._at_home, placement.device, machine or Machine(),
            lambda call: self._memory.run((), call),
        )  # fmt: skip
        self._prompts = PromptEncoder(
            model,
            self.worn,
            networks.embeddings,
            lambda line: self.note(line),
            lambda call: self._memory.run([self.parts.text], call, Work(bytes=TEXT_BYTES)),
        )

    def _at_home(self) -> None:
        """Weights are changed where they are at home; what changed goes to the device when it is needed there."""
        self._memory.home([self.parts.unet, self.parts.text])

    @property
    def model(self) -> LoadedModel:
        """The modules. Nobody keeps them: the model may go, and its VAE may be changed."""
        return self._model

    def use_vae(self, vae: VAE) -> None:
        """Turn latents into pixels, and pixels into latents, with this one from now on."""
        self._memory.home([self.parts.vae], pause=False)
        self._model = replace(self._model, vae=vae)
        self.parts.use_vae(vae)

    @cached_property
    def base(self) -> Base:
        """The U-Net as control networks see it; the same object as long as the model is loaded."""
        self.worn.take_off()  # what this job wants comes back with its next work
        self._memory.home([self.parts.unet])
        weights = {name: weight.detach() for name, weight in self.unet.state_dict().items()}
        config, latent = self.config.unet, self.config.unet.out_channels
        if config.in_channels != latent:  # control networks see the latent alone
            weights[FIRST_WEIGHT] = weights[FIRST_WEIGHT][:, :latent]
            config = replace(config, in_channels=latent)
        return Base(self.config.family, config, weights, self._placement.dtype, self.unet.tap_names.attentions)

    @property
    def table(self) -> dict[type, Callable[[Sequence[Any]], Sequence[Any]]]:
        """For each kind of work, what does it."""
        return {
            EncodeText: lambda items: [self.encode_text(item) for item in items],
            EncodeImage: lambda items: [self.encode_image(item) for item in items],
            EstimateDepth: lambda items: [self.estimate_depth(item) for item in items],
            Denoise: self.denoise,
            DecodeLatent: lambda items: [self.decode(item) for item in items],
        }

    def encode_text(self, wanted: EncodeText) -> Texts:
        """The encoded prompts; the same prompts are encoded once by the same networks. Raises as `PromptEncoder`."""
        self.worn.wear(wanted.networks)
        return self._prompts.encode(wanted)

    def job_over(self) -> None:
        """The job wants nothing any more."""
        self.note = ignore
        self.worn.job_over()
        self._prompts.job_over()

    def with_unet(self, call: Callable[[], Tensor]) -> Tensor:
        """call(), which calls the U-Net, with that on the device. Raises OutOfMemory."""
        return self._memory.run([self.parts.unet], call, self.drawing)

    def encode_image(self, wanted: EncodeImage) -> Tensor:
        """The latent (c h w) of a picture, sampled from the posterior; in float32 when the VAE overflows in its own."""
        latent = self._finite_or_float32(lambda: self._encode(wanted))
        if not torch.isfinite(latent).all():
            raise NumericError(
                "Encoding the picture gave NaN.", "Choose another model or check that the file is whole."
            )
        return latent

    def estimate_depth(self, wanted: EstimateDepth) -> Tensor:
        """The inverse depth (s s) of an image, float32 on the CPU; of the image that was looked at last it is known."""
        if self._looked_at is None or not torch.equal(self._looked_at[0], wanted.image):
            estimator, part = self._model.depth, self.parts.depth
            assert estimator is not None
            assert part is not None
            image = wanted.image[None].to(self._placement.device)
            depth: Tensor = self._memory.run([part], lambda: estimator(image))
            self._looked_at = wanted.image, depth[0].cpu()
        return self._looked_at[1]

    def denoise(self, wanted: Sequence[Denoise]) -> list[tuple[Tensor, Answer]]:
        """One U-Net call for the rows of all pictures, where their shapes allow it.

        An adaptive sampler gets calls of its own: kernels round differently by batch size, and a rounding that tips
        the choice of a step would make another picture in a batch than alone.

        Raises:
            NumericError: when a prediction is not finite.
        """
        if any(item.eval.progress is not None for item in wanted):
            return [self._denoise_together([item])[0] for item in wanted]
        found: dict[int, tuple[Tensor, Answer]] = {}
        for networks in dict.fromkeys(item.networks for item in wanted):
            places = [place for place, item in enumerate(wanted) if item.networks == networks]
            found |= zip(places, self._denoise_together([wanted[place] for place in places]), strict=True)
        return [found[place] for place in range(len(wanted))]

    def decode(self, wanted: DecodeLatent) -> Tensor:
        """The picture (3 h w) in 0..1 of a latent; in float32 when the VAE overflows in its own format."""
        image = self._finite_or_float32(lambda: self._decode(wanted.latent))
        if not torch.isfinite(image).all():
            raise NumericError(
                "Decoding the picture gave NaN.", "Choose another model or check that the file is whole."
            )
        return (image.float() / 2 + 0.5).clamp(0, 1)

    def _denoise_together(self, wanted: Sequence[Denoise]) -> list[tuple[Tensor, Answer]]:
        self.worn.wear(wanted[0].networks)
        found = self._scoped(wanted) if any(map(in_scope, wanted)) else self._plain(wanted)
        for item, (_, answer) in zip(wanted, found, strict=True):
            if not torch.isfinite(answer.denoised).all():
                raise NumericError(
                    f"The model gave NaN at step {item.eval.step + 1} of {item.steps}.",
                    "Start with --dtype float32, lower the CFG scale, or check that the model file is whole.",
                )
        return found

    def _plain(self, wanted: Sequence[Denoise]) -> list[tuple[Tensor, Answer]]:
        def unet(call: Call) -> Tensor:
            return self.with_unet(lambda: self.unet(call.x, call.timesteps, call.context, call.y, None, taps))

        taps = with_inputs(None, self.worn.inputs)

        evals, guidances = [item.eval for item in wanted], [item.guidance for item in wanted]
        answers = denoise(unet, evals, guidances, self.facts.schedule, self.config.prediction)
        return [(item.eval.x, answer) for item, answer in zip(wanted, answers, strict=True)]

    def _scoped(self, wanted: Sequence[Denoise]) -> list[tuple[Tensor, Answer]]:
        scope = next(item.scope for item in wanted if item.scope is not None)
        return denoise_scoped(wanted, scope.tools, self.facts.schedule, self.config.prediction)

    def _finite_or_float32(self, work: Callable[[], Tensor]) -> Tensor:
        """work(), and again with the VAE in float32 (in which it stays) where half precision overflowed."""
        result = work()
        if torch.isfinite(result).all() or _dtype(self._model.vae) not in (torch.float16, torch.bfloat16):
            return result
        self.note("The VAE overflowed in half precision; it works in float32 from now on.")
        self._memory.home([self.parts.vae], pause=False)
        self._model.vae.float()
        self.casts += 1
        return work()

    def _encode(self, wanted: EncodeImage) -> Tensor:
        """z = mean + std * noise, as the U-Net's latent (c h w), float32."""
        vae = self._model.vae
        image = wanted.image[None].to(self._placement.device, _dtype(vae))
        found = self.vae_work.encode(vae, image)
        return vae.to_latent(found.sample(wanted.noise[None].to(found.mean)))[0].float()

    def _decode(self, latent: Tensor) -> Tensor:
        vae = self._model.vae
        z = vae.from_latent(latent[None].to(self._placement.device, _dtype(vae)))
        image = self.vae_work.decode(vae, z)
        return image[0]


def in_scope(item: Denoise) -> bool:
    """Whether anybody has something to add to this evaluation."""
    return item.scope is not None and not item.scope.is_empty


def ignore(note: str) -> None:
    """Where notes go while no job runs."""


def _dtype(module: torch.nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype
