"""Which of the known kinds of checkpoints draw pictures: the one place that says so, for listing and loading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webui.nn.config import EXTRA_CHANNELS, Extra, ModelConfig
from webui.schema.errors import ModelError

_ORDINARY = "Use an ordinary checkpoint."
_ESTIMATOR = (
    "Get the complete checkpoint, or name an estimator (Intel/dpt-hybrid-midas) in a JSON file of the same name beside "
    'it: {"atelier.parts": {"depth": "../ControlNetPreprocessor/dpt_hybrid_midas/model.safetensors"}}.'
)
_HINTS: Mapping[Extra, tuple[str, dict[str, float]]] = {
    "edit": ("Edits a picture in Img2Img and Inpaint by what it is told: make it night.", {}),
    "depth": ("Draws from a picture in Img2Img and Inpaint and keeps its depth, also at denoising strength 1.", {}),
    "upscale": ("Makes a picture four times as large in Img2Img. A CFG scale of 9 suits it.", {"cfg_scale": 9.0}),
}


def kind_hint(extra: Extra) -> dict[str, Any]:
    """Hint and settings of models that read more than the latent, as `ModelInfo` has them."""
    hint, settings = _HINTS.get(extra, ("", {}))
    return {"hint": hint, "settings": settings}


def check_supported(config: ModelConfig) -> None:
    """Let checkpoints pass that the passes can use.

    Raises:
        ModelError: they cannot use this one.
    """
    unet = config.unet
    if unet.in_channels != unet.out_channels + EXTRA_CHANNELS[config.extra]:
        raise ModelError(f"This is a special model: its U-Net takes {unet.in_channels} channels.", _ORDINARY)
    if config.extra == "depth" and config.depth is None:
        raise ModelError("This is a depth model without its depth estimator.", _ESTIMATOR)
    pooled, levels = any(text.pooled for text in config.texts), config.extra == "upscale"
    if (unet.adm_channels is not None and not pooled) or levels != (unet.num_classes is not None):
        raise ModelError("This is a special model: its U-Net wants more than text, as unCLIP's does.", _ORDINARY)
