"""What a picture shows, chosen zero-shot from lists of words (Radford et al. 2021, arXiv:2103.00020, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from webui.ext import ModelFiles

    from .clip import Clip

TEMPLATES = {
    "subject": "a picture of {}", "medium": "{}", "style": "a picture in {} style", "light": "a picture with {}",
    "colours": "a picture that is mostly {}",
}  # fmt: skip
HOME = Path(__file__).parent / "words"


@dataclass(frozen=True)
class Description:
    """The best words of each list with their shares of 1, the best first. text: the first of each in a sentence."""

    found: Mapping[str, Sequence[tuple[str, float]]]

    @property
    def text(self) -> str:
        """ "an oil painting of a ship, romantic, sunset, orange"."""
        first = {name: words[0][0] for name, words in self.found.items()}
        return f"{first['medium']} of {first['subject']}, {first['style']}, {first['light']}, {first['colours']}"


def words(name: str) -> list[str]:
    """The words of a bundled list, one a line."""
    return (HOME / f"{name}.txt").read_text(encoding="utf-8").split("\n")[:-1]


def vectors(clip: Clip, models: ModelFiles, model: str) -> Mapping[str, Tensor]:
    """The unit vectors (n e) of each list, made once for a model."""

    def make() -> Mapping[str, Tensor]:
        return {name: clip.of_texts([text.format(word) for word in words(name)]) for name, text in TEMPLATES.items()}

    kept: Mapping[str, Tensor] = models.load(f"words {model}", make)
    return kept


def describe(clip: Clip, image: Tensor, lists: Mapping[str, Tensor], best: int = 3) -> Description:
    """image: (e), a unit vector."""
    found = {}
    for name, texts in lists.items():
        shares = (clip.scale * texts.to(image) @ image).softmax(0)
        values, places = shares.topk(min(best, len(shares)))
        listed = words(name)
        found[name] = [
            (listed[at], round(share, 4)) for at, share in zip(places.tolist(), values.tolist(), strict=True)
        ]
    return Description(found)
