"""How much memory the engine may use, in the words of the command line. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from webui.schema.errors import BadRequest

VramMode = Literal["auto", "high", "med", "med-sdxl", "low"]
"""high: parts of a model stay on the device; med: text encoders, U-Net and VAE take turns; med-sdxl: med for SDXL, auto
for all else; low: the U-Net comes block by block as well; auto: whatever the device has room for."""
VRAM_MODES: tuple[VramMode, ...] = get_args(VramMode)
GB = 1024**3


@dataclass(frozen=True)
class MemoryOptions:
    """gpu_gb: the most that is used of the device; cpu_gb: the most that checkpoints take of the machine's memory. In
    GB of 1024**3 bytes; 0: what the machine has.

    Raises BadRequest for a mode that is not known, and for less than nothing.
    """

    vram: VramMode = "auto"
    gpu_gb: float = 0.0
    cpu_gb: float = 0.0

    def __post_init__(self) -> None:
        if self.vram not in VRAM_MODES:
            raise BadRequest(f"There is no memory mode {self.vram!r}.", f"Choose one of: {', '.join(VRAM_MODES)}.")
        if not (self.gpu_gb >= 0 and self.cpu_gb >= 0):
            raise BadRequest("A limit of memory is less than nothing.", "Give a number of GB, or 0 for no limit.")

    @property
    def arguments(self) -> list[str]:
        """As the engine's child process is told."""
        return ["--vram", self.vram, "--gpu-memory", str(self.gpu_gb), "--memory", str(self.cpu_gb)]

    @property
    def gpu_bytes(self) -> int | None:
        return int(self.gpu_gb * GB) or None

    @property
    def cpu_bytes(self) -> int | None:
        return int(self.cpu_gb * GB) or None
