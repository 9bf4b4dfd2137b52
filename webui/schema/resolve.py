"""What a request leaves open is fixed once, at submission, so that its record can make the picture again."""

from __future__ import annotations

import random
from collections.abc import Sequence

from webui.schema.errors import BadRequest, NotFound
from webui.schema.generation import MAX_PIXELS, MAX_SEED, MAX_SIDE
from webui.schema.requests import Request, Txt2Img
from webui.schema.results import ModelInfo

FIRST_CHOICE = "toybox"
UPSCALE_FACTOR = 4
PICTURE_MODELS = {
    "edit": "edits pictures (InstructPix2Pix)",
    "depth": "draws by the depth of pictures",
    "upscale": "enlarges pictures",
}
"""What models do that cannot draw from words alone, by what they read beside the latent."""


def resolve(request: Request, *, model: str, native_size: int, init_size: tuple[int, int] | None = None) -> Request:
    """Fix seeds, model and size.

    model: the name to write down; native_size: the model's own side in pixels; init_size: (width, height) of what an
    img2img request makes of its picture where it names none.

    Raises:
        BadRequest: when the picture would be too large, at the size it starts from or after the hires pass.
    """
    own_width, own_height = init_size or (native_size, native_size)
    width, height = request.width or own_width, request.height or own_height
    _check_size(width, height)
    if isinstance(request, Txt2Img) and request.enable_hr:
        _check_size(int(width * request.hr_scale), int(height * request.hr_scale))
    fixed = {
        "model": model,
        "seed": random_seed() if request.seed < 0 else request.seed,
        "subseed": random_seed() if request.subseed < 0 else request.subseed,
        "width": width,
        "height": height,
    }
    return request.model_copy(update=fixed)


def hires_model(request: Request) -> str:
    """The checkpoint of the hires pass where it is another than the first pass's; else empty."""
    if not isinstance(request, Txt2Img) or not request.enable_hr or request.hr_model == request.model:
        return ""
    return request.hr_model


def hires_request(request: Txt2Img) -> Txt2Img:
    """The request as its hires pass has it: what that has of its own stands in the place of the first pass's."""
    own = {
        "prompt": request.hr_prompt,
        "negative_prompt": request.hr_negative_prompt,
        "sampler": request.hr_sampler_name,
        "scheduler": request.hr_scheduler,
        "cfg_scale": request.hr_cfg,
    }
    return request.model_copy(update={name: value for name, value in own.items() if value})


def refined_part(request: Request) -> int:
    """The pass that a refiner ends: the last one that samples, 1 for the hires pass."""
    return int(isinstance(request, Txt2Img) and request.enable_hr and request.denoising_strength > 0)


def last_model(request: Request) -> str:
    """The checkpoint that begins the last pass that samples."""
    return (hires_model(request) if refined_part(request) else "") or request.model


def refiner_model(request: Request) -> str:
    """The checkpoint that takes the last pass over where it is another than the one that begins it; else empty."""
    return "" if request.refiner == last_model(request) else request.refiner


def same_latents_to_refine(request: Request) -> BadRequest:
    """Why a refiner cannot go on where another checkpoint ended."""
    return BadRequest(
        f"Refiner: the latents that it would take over mean nothing to {request.refiner}.",
        "Choose a checkpoint with the same kind of latents: SD 1.x and 2.x are of one kind, SDXL and its refiner of "
        "another.",
    )


def same_latents_needed(request: Txt2Img) -> BadRequest:
    """Why a latent upscaler cannot lead from one checkpoint to another."""
    return BadRequest(
        f"Upscaler: {request.hr_upscaler!r} hands latents on, but those of {request.model} mean nothing to "
        f"{request.hr_model}.",
        "Choose an upscaler that works on the picture, such as Lanczos.",
    )


def picture_needed(model: str, extra: str) -> BadRequest:
    """Why a model that works on pictures cannot draw from words alone, and an upscaler not a part of a picture.

    extra: what it reads beside the latent.
    """
    does = PICTURE_MODELS[extra]
    if extra == "upscale":
        return BadRequest(
            f"{model} {does}: it has to be given a whole one, and can do nothing else.",
            "Use it in the Img2Img tab, or choose another checkpoint.",
        )
    return BadRequest(
        f"{model} {does}: it has to be given one, and cannot draw from words alone.",
        "Use it in the Img2Img or the Inpaint tab, or choose another checkpoint.",
    )


def enlarged(size: tuple[int, int], extra: str) -> tuple[int, int]:
    """(width, height) of what a model draws from a picture of this size where the request names none."""
    factor = UPSCALE_FACTOR if extra == "upscale" else 1
    return size[0] * factor, size[1] * factor


def default_model(models: Sequence[ModelInfo], wanted: str = "") -> str:
    """The name of the model that a request without one means.

    wanted: from the settings; empty: `FIRST_CHOICE` where it is there, else the first one that can be used.

    Raises:
        NotFound: there is no usable model.
    """
    if wanted:
        return wanted
    names = [info.name for info in models if not info.error]
    if not names:
        raise NotFound(
            "There is no usable model.", "Put a .safetensors checkpoint into models/Stable-diffusion and try again."
        )
    return FIRST_CHOICE if FIRST_CHOICE in names else names[0]


def image_seeds(request: Request, index: int) -> tuple[int, int]:
    """(seed, subseed) of the index-th picture: seed + i, or, with a variation seed in use, subseed + i."""
    if request.subseed_strength > 0:
        return request.seed, (request.subseed + index) % (MAX_SEED + 1)
    return (request.seed + index) % (MAX_SEED + 1), request.subseed


def random_seed() -> int:
    """A fresh seed from the operating system: nobody's stream of random numbers is touched."""
    return random.SystemRandom().randint(0, MAX_SEED)


def _check_size(width: int, height: int) -> None:
    if width > MAX_SIDE or height > MAX_SIDE or width * height > MAX_PIXELS:
        raise BadRequest(
            f"The picture would be {width}x{height} pixels; the limit is {MAX_SIDE} a side and {MAX_PIXELS} in all.",
            "Set a smaller width and height.",
        )
