"""Which of the known kinds of checkpoints draw pictures: the one place that says so, for listing and loading."""

from __future__ import annotations

from collections.abc import Mapping

from webui.nn.config import EXTRA_CHANNELS, Extra, ModelConfig
from webui.schema.errors import ModelError

_ORDINARY = "Use an ordinary checkpoint."
UNSUPPORTED_EXTRAS: Mapping[Extra, tuple[str, str]] = {
    "depth": ("a depth model", "Use an ordinary checkpoint; a depth ControlNet steers every one of its family."),
    "upscale": ("the x4 upscaler", _ORDINARY),
}
"""What a U-Net reads beside the latent -> what such a model is called, and what to use in its place."""


def check_supported(config: ModelConfig) -> None:
    """Let checkpoints pass that the passes can use.

    Raises:
        ModelError: they cannot use this one.
    """
    unet = config.unet
    if config.extra in UNSUPPORTED_EXTRAS:
        kind, cure = UNSUPPORTED_EXTRAS[config.extra]
        raise ModelError(f"This is {kind}: its U-Net takes {unet.in_channels} channels, not {unet.out_channels}.", cure)
    if unet.in_channels != unet.out_channels + EXTRA_CHANNELS[config.extra]:
        raise ModelError(f"This is a special model: its U-Net takes {unet.in_channels} channels.", _ORDINARY)
    pooled = any(text.pooled for text in config.texts)
    if unet.takes_y and not pooled:
        raise ModelError("This is a special model: its U-Net wants more than text, as unCLIP's does.", _ORDINARY)
