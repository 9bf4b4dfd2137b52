"""How the weights of a U-Net lie in memory, in the words of the command line. Needs no torch."""

from __future__ import annotations

from typing import Literal, get_args

UnetStorage = Literal["auto", "dtype", "file", "float8_e4m3", "float8_e5m2", "float8-sdxl"]
"""dtype: in the number format that the models work in; file: the same, but what a file has in 8 bits stays so;
float8_...: linear and convolution layers in 8 bits; float8-sdxl: float8_e4m3 for SDXL, file for all else; auto: file on
a GPU, dtype elsewhere."""
UNET_STORAGES: tuple[UnetStorage, ...] = get_args(UnetStorage)
