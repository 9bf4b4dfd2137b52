"""The files that a request names, by the names that the catalogue has for them: a VAE, further checkpoints."""

from __future__ import annotations

from typing import Protocol

from webui.checkpoints.vaes import VAECatalogue
from webui.nn.config import ModelConfig
from webui.schema.errors import BadRequest, ModelError
from webui.schema.generation import AUTOMATIC_VAE, OWN_VAE
from webui.schema.requests import LATENT_UPSCALERS, Inpaint, Request, Txt2Img
from webui.schema.resolve import (
    PICTURE_MODELS,
    hires_model,
    last_model,
    picture_needed,
    refiner_model,
    same_latents_needed,
    same_latents_to_refine,
)
from webui.schema.results import ModelInfo


class Checkpoints(Protocol):
    """The checkpoints at hand (`webui.checkpoints.catalogue.Catalogue`)."""

    @property
    def vaes(self) -> VAECatalogue: ...

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


def with_files(request: Request, checkpoints: Checkpoints) -> Request:
    """The request, its model being fixed, with its other files as the catalogue names them.

    Raises:
        NotFound, ModelError: a file is not there, or cannot be used.
        BadRequest: latents of one checkpoint would go to one that reads them otherwise; a checkpoint needs a picture.
    """
    _check_pictures(request, checkpoints)
    if request.vae not in (AUTOMATIC_VAE, OWN_VAE):
        request = request.model_copy(update={"vae": checkpoints.vaes.find(request.vae).name})
    if isinstance(request, Txt2Img) and request.enable_hr and request.hr_model:
        request = _with_second(request, checkpoints)
    if checkpoints.find(request.model).extra == "upscale":  # it begins with noise alone
        request = request.model_copy(update={"denoising_strength": 1.0})
    return _with_refiner(request, checkpoints) if request.refiner else request


def _with_refiner(request: Request, checkpoints: Checkpoints) -> Request:
    """With the checkpoint that ends its last pass; empty where that is the one that begins it."""
    name = usable(checkpoints, request.refiner).name
    named = request.model_copy(update={"refiner": name})
    if not refiner_model(named):
        return request.model_copy(update={"refiner": ""})
    refiner, begun = checkpoints.config(name), checkpoints.config(last_model(named))
    if refiner.extra != "none":
        raise BadRequest(
            f"Refiner: {name} reads more than the latent, as inpainting models do.", "Choose an ordinary checkpoint."
        )
    if refiner.vae.latent_space != begun.vae.latent_space:
        raise same_latents_to_refine(named)
    return named


def _check_pictures(request: Request, checkpoints: Checkpoints) -> None:
    """Raises BadRequest where a checkpoint needs a picture, or a whole one, and gets none."""
    refused = PICTURE_MODELS if isinstance(request, Txt2Img) else ("upscale",) if isinstance(request, Inpaint) else ()
    for name in filter(None, (request.model, hires_model(request))):
        extra = checkpoints.find(name).extra
        if extra in refused:
            raise picture_needed(name, extra)


def _with_second(request: Txt2Img, checkpoints: Checkpoints) -> Txt2Img:
    """With the checkpoint of its hires pass; empty where the first draws both."""
    second = usable(checkpoints, request.hr_model).name
    named = request.model_copy(update={"hr_model": "" if second == request.model else second})
    if hires_model(named) and named.hr_upscaler in LATENT_UPSCALERS:
        spaces = [checkpoints.config(name).vae.latent_space for name in (named.model, second)]
        if spaces[0] != spaces[1]:
            raise same_latents_needed(named)
    return named
