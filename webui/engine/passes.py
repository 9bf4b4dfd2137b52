"""From a request to the pass of each of its pictures."""

from __future__ import annotations

from webui.diffusion.noise import NoiseSource
from webui.images.given import GivenPictures
from webui.pipeline.img2img import img2img
from webui.pipeline.inpaint import inpaint
from webui.pipeline.txt2img import txt2img
from webui.pipeline.upscale import upscale
from webui.pipeline.work import ModelFacts, Pass
from webui.schema.requests import Img2Img, Inpaint, Request
from webui.schema.resolve import image_seeds


def pass_of(request: Request, facts: ModelFacts, index: int, pictures: GivenPictures) -> Pass:
    """The pass that draws picture `index` (from 0), with the noise of its own seed."""
    seed, subseed = image_seeds(request, index)
    source = NoiseSource(seed, subseed, request.subseed_strength)
    if isinstance(request, Inpaint):
        return inpaint(request, facts, source, pictures.open(request.init_image), pictures.open(request.mask))
    if isinstance(request, Img2Img):
        draw = upscale if facts.config.extra == "upscale" else img2img
        return draw(request, facts, source, pictures.open(request.init_image))
    return txt2img(request, facts, source)
