"""What networks came to on a model: one that is wanted and changes nothing is an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from webui.networks.steps import Use
from webui.schema.errors import ModelError


@dataclass(frozen=True)
class Effect:
    """What a use came to. asked: layers that it was to change, at a strength other than 0; changed: layers whose
    weights it did change."""

    name: str
    asked: int
    changed: int


def check_effects(uses: Sequence[Use], effects: Sequence[Effect]) -> None:
    """Let networks pass that change something, and those that are wanted at the weight 0.

    Raises:
        ModelError: one is wanted and changes nothing; why.
    """
    for use, effect in zip(uses, effects, strict=True):
        if effect.changed or not (use.te or use.unet):
            continue
        if effect.asked:
            raise ModelError(f'"{effect.name}" changes nothing: its weights are zeros.', "Get another version of it.")
        has = "U-Net" if use.te else "text encoder"
        raise ModelError(
            f'"{effect.name}" changes nothing: it has layers of the {has} alone, where its weight is 0.',
            "Give it another weight there, or take it out of the prompt.",
        )
