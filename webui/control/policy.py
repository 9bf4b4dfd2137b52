"""What a unit's settings mean in numbers: window, factors of the residuals, rows.

The rules are those that users of sd-webui-controlnet know; the soft weights are of "My prompt is more important".
"""

from __future__ import annotations

from webui.checkpoints.control import UNION_TYPES
from webui.schema.control import BALANCED, CONTROL, HR_OPTIONS, ControlUnit

SOFT = 0.825
SD1_RESIDUALS, SDXL_RESIDUALS = 13, 10
ADAPTER_SOFT = (0.25, 0.62, 0.825, 1.0)
"""Soft weights of a T2I-Adapter's four features."""
HARD_EDGES = frozenset({"canny", "mlsd", "mlsd_lsd", "lines"})
"""Preprocessors whose hard edges act softly in the hires pass, where they would be drawn as lines."""


def in_window(settings: ControlUnit, step: int, steps: int) -> bool:
    """Whether a unit acts in solver step `step` (from 0) of `steps`: start <= step/steps <= end."""
    return settings.start <= step / max(steps, 1) <= settings.end


def acts_in_some_step(settings: ControlUnit, steps: int) -> bool:
    """Whether the window of a unit holds a step of a pass. Some schedules have a step more or fewer than asked for."""
    counts = range(max(steps - 1, 1), steps + 2)
    return any(in_window(settings, step, count) for count in counts for step in range(count))


def in_pass(settings: ControlUnit, hires: bool) -> bool:
    """Whether a unit acts in the first or in the hires pass."""
    return settings.hr_option == HR_OPTIONS[0] or settings.hr_option == HR_OPTIONS[2 if hires else 1]


def is_soft(settings: ControlUnit, hires: bool) -> bool:
    """Whether the coarse residuals count most."""
    return settings.mode != BALANCED or (hires and settings.preprocessor in HARD_EDGES)


def soft_weights(count: int) -> tuple[float, ...]:
    """Factors of `count` residuals, the middle block's last: 0.825 ** (12 - i).

    SDXL has ten residuals and uses the first ten of SD 1.x's thirteen, as sd-webui-controlnet does; a model of another
    depth ends with 1.
    """
    last = SD1_RESIDUALS - 1 if count in (SD1_RESIDUALS, SDXL_RESIDUALS) else count - 1
    return tuple(SOFT ** (last - index) for index in range(count))


def factors(settings: ControlUnit, count: int, hires: bool = False, features: bool = False) -> tuple[float, ...]:
    """What each of `count` residuals is multiplied with. features: they are a T2I-Adapter's, not a ControlNet's."""
    if settings.layer_weights:
        return _of_length(settings.layer_weights, count)
    if not is_soft(settings, hires):
        return (settings.weight,) * count
    soft = _of_length(ADAPTER_SOFT, count) if features else soft_weights(count)
    return tuple(settings.weight * factor for factor in soft)


def acting_rows(settings: ControlUnit, is_cond: tuple[bool, ...], pooled: bool) -> tuple[int, ...]:
    """The rows that get residuals: of the prompt alone where control counts more, and for pooled residuals."""
    prompt_only = settings.mode == CONTROL or pooled
    return tuple(row for row, cond in enumerate(is_cond) if cond or not prompt_only)


def union_type(settings: ControlUnit) -> int | None:
    """Which of ControlNet-Union's types a map is: as the unit says, or by its preprocessor; None: neither tells."""
    if settings.union_type in UNION_TYPES:
        return UNION_TYPES.index(settings.union_type)
    words = settings.preprocessor.lower()
    return next((kind for word, kind in _UNION_WORDS if word in words), None)


_UNION_WORDS = (
    ("pose", 0), ("depth", 1), ("softedge", 2), ("hed", 2), ("pidi", 2), ("scribble", 2), ("teed", 2), ("canny", 3),
    ("lineart", 3), ("mlsd", 3), ("lines", 3), ("normal", 4), ("seg", 5), ("tile", 6), ("inpaint", 7),
)  # fmt: skip


def _of_length(values: tuple[float, ...], count: int) -> tuple[float, ...]:
    """The values, the last of them repeated or the rest cut off."""
    return (values + values[-1:] * count)[:count]
