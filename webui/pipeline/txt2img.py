"""A picture from words, with the hires pass where it is asked for."""

from __future__ import annotations

from torch import Tensor

from webui.diffusion.noise import NoiseSource
from webui.pipeline.concat import with_concat
from webui.pipeline.hires import hires, hires_size
from webui.pipeline.sampling import from_noise
from webui.pipeline.tensors import tensor_to_image
from webui.pipeline.texts import encoded_texts
from webui.pipeline.work import DecodeLatent, ModelFacts, Pass, Picture
from webui.schema.requests import Txt2Img


def txt2img(request: Txt2Img, model: ModelFacts, source: NoiseSource) -> Pass:
    """The pass of one picture; the request's size is fixed."""
    width, height = request.width or model.config.native_size, request.height or model.config.native_size
    texts = yield from encoded_texts(request, width, height)
    texts = yield from with_concat(model, texts, (width, height))
    latent: Tensor = yield from from_noise(
        request, model, source, texts, model.latent_shape(width, height), parts=2 if request.enable_hr else 1
    )
    if request.enable_hr:
        width, height = hires_size(request, width, height)
        latent = yield from hires(request, model, source, latent, (width, height))
    image = yield DecodeLatent(latent, model.picture)
    # sides that are no multiple of the model's own were rounded up
    return Picture(tensor_to_image(image).crop((0, 0, width, height)))
