"""ControlNet and its relatives. The adapters are in nets, t2i and ip; here are the units that need no model file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import colorfix, reference

if TYPE_CHECKING:
    from torch import Tensor

    from webui.ext import PassContext, StepContext


def open_pass(p: PassContext) -> Iterator[None]:
    """Reference pictures take over the self-attentions; colours to keep are remembered for `after_cfg`."""
    references = [unit for unit in p.units if unit.settings.preprocessor == reference.ID]
    if references:
        reference.begin(p, references)
    for unit in p.units:
        if unit.settings.preprocessor == colorfix.ID:
            colorfix.begin(p, unit)
    yield


def after_cfg(s: StepContext) -> Tensor:
    """The prediction with the colours of the units' pictures."""
    return colorfix.fixed(s)
