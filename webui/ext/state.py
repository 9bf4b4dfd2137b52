"""Which extensions the user wants, and their settings: `extensions.json` in the data folder, never in their own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from webui.images.save import write_whole
from webui.schema.errors import DiskError

FILE: Final = "extensions.json"


class Choice(BaseModel):
    """What the user said of one extension.

    enabled: None where nothing was said. allowed: whether it may run although it does not come with the program.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    enabled: bool | None = None
    allowed: bool = False
    settings: Mapping[str, Any] = Field(default_factory=dict)


class Choices(BaseModel):
    """What the user said of all extensions: a value that also travels to the engine (`model_dump`)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    extensions: Mapping[str, Choice] = Field(default_factory=dict)

    def of(self, id: str) -> Choice:
        """The choice for this id; nothing was said of an unknown one."""
        return self.extensions.get(id, Choice())

    def refusal(self, id: str, bundled: bool) -> str:
        """Why an extension is off; "" where it is on. What comes with the program is on until the user says no."""
        choice = self.of(id)
        if not bundled and not choice.allowed:
            return "it does not come with the program and nobody has allowed it yet"
        return "it is switched off" if choice.enabled is False else ""


class ExtState:
    """The file behind `Choices`. Every change reads it anew and writes it whole."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FILE
        self._lock = threading.Lock()

    def choices(self) -> Choices:
        """What stands in the file; nothing where it is missing or broken: then third-party code stays off."""
        try:
            return Choices.model_validate(json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, ValidationError):
            return Choices()

    def enable(self, id: str, allow: bool = False) -> None:
        """Switch on. allow: also let it run although it does not come with the program."""
        self._change(id, lambda was: was.model_copy(update={"enabled": True, "allowed": was.allowed or allow}))

    def disable(self, id: str) -> None:
        """Switch off; an allowed one stays allowed."""
        self._change(id, lambda was: was.model_copy(update={"enabled": False}))

    def set_settings(self, id: str, settings: Mapping[str, Any]) -> None:
        """Replace the settings of an extension. Checking them (`values_of`) is the caller's part."""
        self._change(id, lambda was: was.model_copy(update={"settings": dict(settings)}))

    def forget(self, id: str) -> None:
        """As if nothing had been said of it: what is installed later under this id must be allowed anew."""
        self._change(id, lambda _was: None)

    def _change(self, id: str, change: Callable[[Choice], Choice | None]) -> None:
        with self._lock:
            said = dict(self.choices().extensions)
            choice = change(said.get(id, Choice()))
            said.pop(id, None)
            if choice is not None:
                said[id] = choice
            data = Choices(extensions=dict(sorted(said.items()))).model_dump(mode="json")
            try:
                write_whole(self.path, json.dumps(data, indent=1).encode())
            except OSError as error:
                raise DiskError(f"{self.path.name} was not saved: {error.strerror or error}.") from error
