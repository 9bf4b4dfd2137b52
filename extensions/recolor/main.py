"""The light of a picture without its colours: a network then paints it in new ones, and the light is put back."""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

LIGHT = {
    "recolor_luminance": (cv2.COLOR_RGB2LAB, cv2.COLOR_LAB2RGB, 0, 100.0),
    "recolor_intensity": (cv2.COLOR_RGB2HSV, cv2.COLOR_HSV2RGB, 2, 1.0),
}
"""preprocessor -> to and from the colour space of its light, the light's channel there, and its greatest value."""


def recolor_luminance(image: NDArray[np.uint8], *, gamma: float) -> NDArray[np.uint8]:
    """L of CIE LAB (h w 3), raised to the power gamma. RGB data go in as RGB, so red and blue are not swapped."""
    return _grey(cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[:, :, 0], gamma)


def recolor_intensity(image: NDArray[np.uint8], *, gamma: float) -> NDArray[np.uint8]:
    """V of HSV, the brightest of the three channels (h w 3), raised to the power gamma."""
    return _grey(image.max(axis=2), gamma)


def after_decode(p: Any) -> torch.Tensor:
    """The picture (3 h w) in 0..1 with the light of the maps that it was drawn by, and the colours it has."""
    image = p.image
    for unit in p.p.units:
        if unit.settings.weight > 0:
            image = relit(image, unit.hint.image[0], unit.settings.preprocessor)
    return image


def relit(image: torch.Tensor, light: torch.Tensor, preprocessor: str) -> torch.Tensor:
    """image, light: (3 h w) in 0..1. Where one of them is larger, at the right and below, it stays as it is."""
    there, back, channel, most = LIGHT[preprocessor]
    height, width = (min(ours, theirs) for ours, theirs in zip(image.shape[1:], light.shape[1:], strict=True))
    pixels = image[:, :height, :width].permute(1, 2, 0).float().cpu().numpy().clip(0, 1)
    colours = cv2.cvtColor(np.ascontiguousarray(pixels), there)
    colours[:, :, channel] = light[0, :height, :width].float().cpu().numpy() * most
    whole = image.clone()
    whole[:, :height, :width] = torch.from_numpy(cv2.cvtColor(colours, back).clip(0, 1)).permute(2, 0, 1).to(image)
    return whole


def _grey(light: NDArray[np.uint8], gamma: float) -> NDArray[np.uint8]:
    curve = np.rint((np.arange(256) / 255) ** gamma * 255).astype(np.uint8)
    return cv2.cvtColor(curve[light], cv2.COLOR_GRAY2RGB)
