"""Which of the known kinds of checkpoints draw pictures: the one place that says so, for listing and loading."""

from __future__ import annotations

from webui.nn.config import EXTRA_CHANNELS, ModelConfig
from webui.schema.errors import ModelError

_ORDINARY = "Use an ordinary checkpoint."
_ESTIMATOR = (
    "Get the complete checkpoint, or name an estimator (Intel/dpt-hybrid-midas) in a JSON file of the same name beside "
    'it: {"atelier.parts": {"depth": "../ControlNetPreprocessor/dpt_hybrid_midas/model.safetensors"}}.'
)


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
