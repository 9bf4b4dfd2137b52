"""Tags of networks in a prompt: `<lora:name:0.8>`, `<lora:name:te=0.5:unet=1>`, `<hypernet:name:1>`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# Possessive, and only run on texts that end in ">": every "<word:" then finds its end, so that all of it is linear.
_TAG = re.compile(r"<(\w++):([^>]++)>")


@dataclass(frozen=True)
class ExtraNetwork:
    """One tag. kind: the word before the first colon, in lower case, whatever it is; name: what follows it.

    args: the values behind the name that have no key; named_args: those with one, (key, value), in the order they
    stand. All are the user's letters without the white space about them: what they mean is for the kind to say.
    """

    kind: str
    name: str
    args: tuple[str, ...] = ()
    named_args: tuple[tuple[str, str], ...] = ()

    @property
    def named(self) -> Mapping[str, str]:
        """The values with a key; the last one where a key stands twice."""
        return dict(self.named_args)

    def __str__(self) -> str:
        """The tag as it is written in a prompt; reading it gives an equal value."""
        named = (f"{key}={value}" for key, value in self.named_args)
        return f"<{':'.join((self.kind, self.name, *self.args, *named))}>"


def split_tags(text: str) -> tuple[str, tuple[ExtraNetwork, ...]]:
    """A prompt without its tags, and the tags in their order. Nothing else is changed, as in A1111: `a, <lora:b>, c`
    leaves both commas. Tags that the removal of others makes are tags too."""
    tags: list[ExtraNetwork] = []

    def take(match: re.Match[str]) -> str:
        tags.append(_tag(match[1], match[2]))
        return ""

    found = -1
    while found != len(tags):
        found = len(tags)
        end = text.rfind(">") + 1
        text = _TAG.sub(take, text[:end]) + text[end:]
    return text, tuple(tags)


def _tag(kind: str, items: str) -> ExtraNetwork:
    name, *others = (item.strip() for item in items.split(":"))
    pairs = [item.partition("=") for item in others]
    return ExtraNetwork(
        kind.lower(),
        name,
        tuple(key for key, sign, _ in pairs if not sign),
        tuple((key.strip(), value.strip()) for key, sign, value in pairs if sign),
    )
