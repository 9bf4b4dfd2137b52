"""Does the work that passes yield, on one loaded model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.diffusion.denoiser import denoise
from webui.diffusion.schedules import NoiseSchedule
from webui.diffusion.types import Answer
from webui.engine.devices import Placement, is_out_of_memory
from webui.pipeline.work import DecodeLatent, Denoise, EncodeImage, EncodeText, ModelFacts, Texts
from webui.prompt.encode import encode_pair
from webui.schema.errors import NumericError, OutOfMemory

REMEMBERED_TEXTS = 32
TILE = 64
"""Latent side of a tile when a whole picture does not fit into memory."""
CPU_WHOLE = 192 * 192
"""Largest latent (in pixels) that is worked whole on a CPU, where the system may kill the process instead of refusing
memory: SD's decoder takes about 3 kB for each pixel of the picture, 7 GB for 1536 x 1536."""


class Executor:
    """Answers the work of passes with a model's modules. One per loaded model; used by one thread alone.

    note: where warnings of the present job go.
    """

    def __init__(self, model: LoadedModel, placement: Placement) -> None:
        self.facts = ModelFacts(model.config, NoiseSchedule(model.config.schedule), placement.device)
        self.note: Callable[[str], None] = ignore
        self._model = model
        self._placement = placement
        self._texts: OrderedDict[EncodeText, Texts] = OrderedDict()

    @property
    def table(self) -> dict[type, Callable[[Sequence[Any]], Sequence[Any]]]:
        """For each kind of work, what does it."""
        return {
            EncodeText: lambda items: [self.encode_text(item) for item in items],
            EncodeImage: lambda items: [self.encode_image(item) for item in items],
            Denoise: self.denoise,
            DecodeLatent: lambda items: [self.decode(item) for item in items],
        }

    def encode_text(self, wanted: EncodeText) -> Texts:
        """The encoded prompts; the same prompts are encoded once."""
        if wanted not in self._texts:
            self._texts[wanted] = self._encode_text(wanted)
            if len(self._texts) > REMEMBERED_TEXTS:
                self._texts.popitem(last=False)
        self._texts.move_to_end(wanted)
        return self._texts[wanted]

    def encode_image(self, wanted: EncodeImage) -> Tensor:
        """The latent (c h w) of a picture, sampled from the posterior; in float32 when the VAE overflows in its own."""
        latent = self._finite_or_float32(lambda: self._encode(wanted))
        if not torch.isfinite(latent).all():
            raise NumericError(
                "Encoding the picture gave NaN.", "Choose another model or check that the file is whole."
            )
        return latent

    def denoise(self, wanted: Sequence[Denoise]) -> list[tuple[Tensor, Answer]]:
        """One U-Net call for the rows of all pictures, where their shapes allow it.

        An adaptive sampler gets calls of its own: kernels round differently by batch size, and a rounding that tips
        the choice of a step would make another picture in a batch than alone.

        Raises:
            NumericError: when a prediction is not finite.
        """
        if any(item.eval.progress is not None for item in wanted):
            return [self._denoise_together([item])[0] for item in wanted]
        return self._denoise_together(wanted)

    def decode(self, wanted: DecodeLatent) -> Tensor:
        """The picture (3 h w) in 0..1 of a latent; in float32 when the VAE overflows in its own format."""
        image = self._finite_or_float32(lambda: self._decode(wanted.latent))
        if not torch.isfinite(image).all():
            raise NumericError(
                "Decoding the picture gave NaN.", "Choose another model or check that the file is whole."
            )
        return (image.float() / 2 + 0.5).clamp(0, 1)

    def _denoise_together(self, wanted: Sequence[Denoise]) -> list[tuple[Tensor, Answer]]:
        evals, guidances = [item.eval for item in wanted], [item.guidance for item in wanted]
        answers = denoise(self._model.unet, evals, guidances, self.facts.schedule, self._model.config.prediction)
        for item, answer in zip(wanted, answers, strict=True):
            if not torch.isfinite(answer.denoised).all():
                raise NumericError(
                    f"The model gave NaN at step {item.eval.step + 1} of {item.steps}.",
                    "Start with --dtype float32, lower the CFG scale, or check that the model file is whole.",
                )
        return [(item.eval.x, answer) for item, answer in zip(wanted, answers, strict=True)]

    def _finite_or_float32(self, work: Callable[[], Tensor]) -> Tensor:
        """work(), and again with the VAE in float32 (in which it stays) where half precision overflowed."""
        result = work()
        if torch.isfinite(result).all() or _dtype(self._model.vae) not in (torch.float16, torch.bfloat16):
            return result
        self.note("The VAE overflowed in half precision; it works in float32 from now on.")
        self._model.vae.float()
        return work()

    def _encode(self, wanted: EncodeImage) -> Tensor:
        """z = mean + std * noise, as the U-Net's latent (c h w), float32."""
        vae = self._model.vae
        image = wanted.image[None].to(self._placement.device, _dtype(vae))
        area = image.shape[-2] * image.shape[-1] // self.facts.multiple**2
        found = _with_tiles(vae.encode, lambda x: vae.encode_tiled(x, TILE), image, area, self.note)
        return vae.to_latent(found.sample(wanted.noise[None].to(found.mean)))[0].float()

    def _decode(self, latent: Tensor) -> Tensor:
        vae = self._model.vae
        z = vae.from_latent(latent[None].to(self._placement.device, _dtype(vae)))
        image: Tensor = _with_tiles(
            vae.decode, lambda x: vae.decode_tiled(x, TILE), z, z.shape[-2] * z.shape[-1], self.note
        )
        return image[0]

    def _encode_text(self, wanted: EncodeText) -> Texts:
        cond, uncond = encode_pair(
            self._model, wanted.prompt, wanted.negative_prompt, wanted.clip_skip, wanted.width, wanted.height
        )
        return Texts(cond, uncond)


def ignore(note: str) -> None:
    """Where notes go while no job runs."""


def _dtype(module: torch.nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def _with_tiles(
    whole: Callable[[Tensor], Any],
    tiled: Callable[[Tensor], Any],
    x: Tensor,
    latent_area: int,
    note: Callable[[str], None],
) -> Any:
    """whole(x), or tiled(x) with a note when the device has not enough memory for it."""
    if latent_area <= CPU_WHOLE or x.device.type != "cpu":
        try:
            return whole(x)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # outside the handler, whose traceback would keep the tensors of the failed try alive
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    note("Not enough memory for the whole picture: the VAE worked tile by tile.")
    try:
        return tiled(x)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory("Not enough memory for the VAE, even tile by tile.", "Make the picture smaller.") from None
