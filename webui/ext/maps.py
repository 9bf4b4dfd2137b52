"""What a preprocessor gets and gives: the words between one function of an extension and the core.

A preprocessor is a plain function `name(image, *, <its declared parameters>, ctx)`; `ctx` only where it asks for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from webui.control.adapters import Map
from webui.control.copies import copied
from webui.schema.errors import AtelierError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class PreprocessContext:
    """What the core lends to a preprocessor.

    rng: random numbers of the job's seed. mask: (h w) uint8, white where an inpaint unit repaints, or None.
    model: path of a file that the manifest declares; raises NotFound that says what to put where. load: what the
    function makes, kept under the key until the memory is needed. check_cancel: raises when the owner stopped the job.
    preprocess: the map that another preprocessor, named by its id, makes of a picture with these parameters.
    """

    rng: np.random.Generator
    mask: Pixels | None
    device: str
    model: Callable[[str], Path]
    load: Callable[[str, Callable[[], Any]], Any]
    check_cancel: Callable[[], None]
    preprocess: Callable[..., Map]


class BadMap(AtelierError):
    """A preprocessor returned something that is no map of the picture it was given."""

    code = "bad_map"


def make_map(function: Callable[..., Any], image: Pixels, values: Mapping[str, Any], ctx: PreprocessContext) -> Map:
    """Call a preprocessor. image: (h w 3) uint8, handed over as a copy, as ctx.mask is.

    Raises BadMap, and what the function raises.
    """
    ctx = replace(ctx, mask=None if ctx.mask is None else ctx.mask.copy())
    extra = {"ctx": ctx} if "ctx" in inspect.signature(function).parameters else {}
    answer = function(image.copy(), **values, **extra)
    found = answer if isinstance(answer, Map) else Map(answer)
    pixels = found.image
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != image.shape:
        what = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise BadMap(
            f"The preprocessor {function.__name__} returned {what} in the place of uint8 {image.shape}.",
            "A map is RGB and as large as the picture it was made of.",
        )
    return copied(found)  # it may be something that the function keeps
