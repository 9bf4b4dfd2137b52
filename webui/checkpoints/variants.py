"""Distilled checkpoints that want few steps: known by their name or title, with the settings that suit them.

Sources: LCM, arXiv:2310.04378; SDXL Turbo, arXiv:2311.17042; SDXL-Lightning, arXiv:2402.13929; Hyper-SD,
arXiv:2404.13686; DMD2, arXiv:2405.14867.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Variant:
    """A way of distilling. The settings are those of its authors, or of what is commonly merged with it."""

    name: str
    steps: int
    cfg_scale: float
    sampler: str
    scheduler: str = "Automatic"

    @property
    def settings(self) -> dict[str, int | float | str]:
        """Values of request fields."""
        return {
            "steps": self.steps, "cfg_scale": self.cfg_scale, "sampler": self.sampler, "scheduler": self.scheduler,
        }  # fmt: skip

    @property
    def hint(self) -> str:
        """What a user is told of it."""
        schedule = "" if self.scheduler == "Automatic" else f" with {self.scheduler}"
        steps = "1 step" if self.steps == 1 else f"{self.steps} steps"
        return f"{self.name} model: about {steps}, CFG {self.cfg_scale:g}, {self.sampler}{schedule}."


LCM = Variant("LCM", 6, 1.5, "LCM")
SD_TURBO = Variant("Turbo", 1, 1.0, "Euler a", "SGM Uniform")
"""Stability's own, at 512 pixels; merges of it want more."""
TURBO = Variant("Turbo", 7, 2.0, "DPM++ SDE", "Karras")
LIGHTNING = Variant("Lightning", 4, 1.0, "Euler", "SGM Uniform")
"""ByteDance's own, made for as many steps as its name says; merges of it want more."""
LIGHTNING_MERGE = Variant("Lightning", 6, 2.0, "DPM++ SDE", "Karras")
HYPER = Variant("Hyper", 8, 1.0, "Euler", "SGM Uniform")
DMD2 = Variant("DMD2", 4, 1.0, "LCM")

_NAMES: tuple[tuple[re.Pattern[str], Variant], ...] = tuple(
    (re.compile(pattern), variant)
    for pattern, variant in (
        (r"(?<![a-zA-Z])(?i:lcm)(?![a-z])|(?<=[a-z])LCM(?![A-Z])", LCM),
        (r"(?i)^sd[-_ ]?(?:xl)?[-_ ]?turbo", SD_TURBO),
        (r"(?i)turbo", TURBO),
        (r"(?i)sdxl[-_ ]lightning[-_ ]\d+[-_ ]?step", LIGHTNING),
        (r"(?i)lightning", LIGHTNING_MERGE),
        (r"(?i:hyper[-_ ]?(?:sd|xl))|(?<![a-zA-Z])(?i:hyper)(?![a-z])|(?<=[a-z])Hyper(?![a-z])", HYPER),
        (r"(?i)dmd2", DMD2),
    )
)
_STEPS = re.compile(r"(?i)(?<!\d)(\d{1,2})[-_ ]?steps?(?![a-z])")


def find_variant(*names: str) -> Variant | None:
    """The variant that a file's name or title speaks of, with the number of steps that it names; None for none."""
    for name in names:
        for pattern, variant in _NAMES:
            if pattern.search(name):
                steps = _STEPS.search(name)
                return replace(variant, steps=int(steps[1])) if steps and int(steps[1]) else variant
    return None
