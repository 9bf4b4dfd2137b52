"""What peft writes beside its tensors: `adapter_config.json`, or diffusers' copy of it in a file's header.

kohya's files carry everything in tensors; peft's do not: without this, a file's alpha counts as its rank.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webui.checkpoints.header import Header

CONFIG_FILE = "adapter_config.json"
HEADER_KEY = "lora_adapter_metadata"
PARTS = ("text_encoder_2", "text_encoder", "unet")
"""Before the names of layers and of settings in diffusers' files."""
DEFAULT_TERMS = 5
DEFAULT_LIMIT = 6e-5


@dataclass(frozen=True)
class PeftSettings:
    """The settings of one layer. module: its name in peft's words."""

    module: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scale(self) -> float | None:
        """What the difference is multiplied by; None where nothing is said."""
        rank = _number(self._pattern("rank_pattern", self.values.get("r")))
        alpha = _number(self._pattern("alpha_pattern", self.values.get("lora_alpha", self.values.get("alpha"))))
        if not rank or alpha is None:
            return None
        return alpha / (math.sqrt(rank) if self.values.get("use_rslora") else rank)

    @property
    def feeds_forward(self) -> bool:
        """Whether IA3 multiplies what the layer reads, not what it gives."""
        return _names(self.values.get("feedforward_modules"), self.module)

    @property
    def series(self) -> int:
        """Terms of the series that stands for the inverse in OFT; 0: the inverse itself."""
        if not self.values.get("use_cayley_neumann", True):
            return 0
        return int(_number(self.values.get("num_cayley_neumann_terms")) or DEFAULT_TERMS)

    @property
    def limit(self) -> float | None:
        """The bound of constrained OFT; None where it is not constrained."""
        if not self.values.get("coft"):
            return None
        return _number(self.values.get("eps")) or DEFAULT_LIMIT

    def _pattern(self, key: str, default: Any) -> Any:
        """The value of the first pattern that this layer's name ends in."""
        patterns = self.values.get(key)
        for pattern, value in patterns.items() if isinstance(patterns, Mapping) else ():
            if _ends_in(str(pattern), self.module):
                return value
        return default


def settings_of(header: Header, beside: Mapping[str, Any], layer: str) -> PeftSettings:
    """The settings of a layer, by its name in the file. beside: the JSON object of an adapter_config.json beside it."""
    packed = header.object(HEADER_KEY)
    for part in PARTS:
        if layer.startswith(f"{part}."):
            own = {key.removeprefix(f"{part}."): value for key, value in packed.items() if key.startswith(f"{part}.")}
            return PeftSettings(layer.removeprefix(f"{part}."), own)
    return PeftSettings(layer.removeprefix("base_model.model."), beside if "peft_type" in beside else {})


def _names(wanted: Any, module: str) -> bool:
    """Whether a layer is meant: by a list of last names, or by one regular expression."""
    if isinstance(wanted, str):
        return _fits(wanted, module)
    return isinstance(wanted, Sequence) and any(_ends_in(re.escape(str(name)), module) for name in wanted)


def _ends_in(pattern: str, module: str) -> bool:
    return _fits(rf"(?:.*\.)?(?:{pattern})", module)


def _fits(pattern: str, module: str) -> bool:
    try:
        return re.fullmatch(pattern, module) is not None
    except re.error:
        return False


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
