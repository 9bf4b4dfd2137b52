"""A picture from words and a picture."""

from __future__ import annotations

from PIL.Image import Image
from torch import Tensor

from webui.diffusion.noise import NoiseSource
from webui.images.read import opaque
from webui.images.resize import crop_back, pad_to_multiple, resize_to
from webui.pipeline.concat import Beside, with_concat
from webui.pipeline.sampling import Place, Redo, from_latent
from webui.pipeline.tensors import image_to_tensor, tensor_to_image
from webui.pipeline.texts import encoded_texts
from webui.pipeline.work import DecodeLatent, EncodeImage, ModelFacts, Pass, Picture
from webui.schema.requests import Img2Img


def img2img(request: Img2Img, model: ModelFacts, source: NoiseSource, init: Image) -> Pass:
    """The pass of one picture. Strength 0 gives `init` back as it is, resized."""
    image = fitted(request, init)
    if request.denoising_strength <= 0:
        return Picture(image)
    texts = yield from encoded_texts(request, *image.size)
    padded = pad_to_multiple(image, model.multiple)
    texts = yield from with_concat(model, texts, image.size, Beside(padded, hidden=request.inpainting_mask_weight))
    shape = model.latent_shape(*image.size)
    latent: Tensor = yield EncodeImage(image_to_tensor(padded), source.posterior(shape))
    redo = Redo(request.denoising_strength, request.steps, place=Place(size=image.size))
    latent = yield from from_latent(request, model, source, texts, latent, redo)
    decoded: Tensor = yield DecodeLatent(latent, model.picture)
    return Picture(crop_back(tensor_to_image(decoded), *image.size))


def fitted(request: Img2Img, image: Image) -> Image:
    """The picture at the request's size, in RGB; at its own where the request names none."""
    width, height = request.width or image.width, request.height or image.height
    return resize_to(opaque(image), width, height, request.resize_mode)
