"""The checkpoint of a hires pass, where it is another than the first pass's."""

from __future__ import annotations

from typing import Protocol

from webui.nn.config import ModelConfig
from webui.schema.errors import ModelError
from webui.schema.requests import LATENT_UPSCALERS, Request, Txt2Img
from webui.schema.resolve import hires_model, same_latents_needed
from webui.schema.results import ModelInfo


class Checkpoints(Protocol):
    """The checkpoints at hand (`webui.checkpoints.catalogue.Catalogue`)."""

    def find(self, name: str) -> ModelInfo:
        """Raises NotFound."""

    def config(self, name: str) -> ModelConfig:
        """The architecture of one. Raises NotFound, ModelError."""


def usable(checkpoints: Checkpoints, name: str) -> ModelInfo:
    """The checkpoint of this name. Raises NotFound, and ModelError where it cannot be used."""
    model = checkpoints.find(name)
    if model.error:
        raise ModelError(f"The model {model.name} cannot be used: {model.error}", "Choose another one.")
    return model


def with_second(request: Request, checkpoints: Checkpoints) -> Request:
    """The request with the checkpoint of its hires pass as the catalogue names it: empty where the first draws both.

    Raises:
        NotFound, ModelError: there is no such checkpoint, or it cannot be used.
        BadRequest: latents of the first would go to one that reads them otherwise.
    """
    if not isinstance(request, Txt2Img) or not request.enable_hr or not request.hr_model:
        return request
    second = usable(checkpoints, request.hr_model).name
    named = request.model_copy(update={"hr_model": "" if second == request.model else second})
    if hires_model(named) and named.hr_upscaler in LATENT_UPSCALERS:
        spaces = [checkpoints.config(name).vae.latent_space for name in (named.model, second)]
        if spaces[0] != spaces[1]:
            raise same_latents_needed(named)
    return named
