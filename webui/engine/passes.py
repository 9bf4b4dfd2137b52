"""From a request to the pass of each of its pictures."""

from __future__ import annotations

from collections.abc import Mapping

from PIL.Image import Image

from webui.diffusion.noise import NoiseSource
from webui.images.read import read_image
from webui.pipeline.img2img import img2img
from webui.pipeline.inpaint import inpaint
from webui.pipeline.txt2img import txt2img
from webui.pipeline.work import ModelFacts, Pass
from webui.schema.errors import BadRequest
from webui.schema.images import ImageRef
from webui.schema.requests import Img2Img, Inpaint, Request
from webui.schema.resolve import image_seeds


class GivenPictures:
    """The pictures that came with a request, sha256 -> PNG; each is read once."""

    def __init__(self, images: Mapping[str, bytes]) -> None:
        self._images = images
        self._read: dict[str, Image] = {}

    def open(self, ref: ImageRef) -> Image:
        """Raises BadRequest where it did not come along, BadImage where it cannot be read."""
        if ref.sha256 not in self._images:
            raise BadRequest("A picture of this request is no longer there.", "Choose the picture again.")
        if ref.sha256 not in self._read:
            self._read[ref.sha256] = read_image(self._images[ref.sha256])
        return self._read[ref.sha256]


def pass_of(request: Request, facts: ModelFacts, index: int, pictures: GivenPictures) -> Pass:
    """The pass that draws picture `index` (from 0), with the noise of its own seed."""
    seed, subseed = image_seeds(request, index)
    source = NoiseSource(seed, subseed, request.subseed_strength)
    if isinstance(request, Inpaint):
        return inpaint(request, facts, source, pictures.open(request.init_image), pictures.open(request.mask))
    if isinstance(request, Img2Img):
        return img2img(request, facts, source, pictures.open(request.init_image))
    return txt2img(request, facts, source)
