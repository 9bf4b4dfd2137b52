"""The hook points in the order in which a job passes them, and what an error in each of them does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Hook:
    """One hook point. argument: the name of its one argument. observer: an error becomes a note; else it fails the job.
    generator: it yields once, and what follows the yield is clean-up. exclusive: one extension alone may have it."""

    name: str
    argument: str
    when: str
    observer: bool = False
    generator: bool = False
    exclusive: bool = False

    @property
    def signature(self) -> str:
        """ "before_unet(c)"."""
        return f"{self.name}({self.argument})"


HOOKS: Final = (
    Hook("setup", "app", "the extension is activated"),
    Hook("teardown", "app", "the extension is disabled, reloaded or removed, or the engine ends", observer=True),
    Hook("model_changed", "ev", "another model was loaded", observer=True),
    Hook("prepare_job", "job", "a job begins, before its seeds are fixed"),
    Hook("open_pass", "p", "once per picture and sampling pass", generator=True),
    Hook("before_step", "s", "before a solver step"),
    Hook("before_unet", "c", "before a U-Net call"),
    Hook("after_unet", "c", "after a U-Net call"),
    Hook("combine", "s", "in the place of the guidance formula", exclusive=True),
    Hook("after_cfg", "s", "after guidance"),
    Hook("after_step", "s", "after a solver step", observer=True),
    Hook("after_sampling", "p", "a pass has its latent"),
    Hook("after_decode", "p", "a latent became pixels"),
    Hook("on_image", "img", "before a picture is handed out"),
    Hook("job_done", "job, error", "always, at the end of a job", observer=True),
)


def hook_named(name: str) -> Hook | None:
    """The hook point of this name; None where there is none."""
    return next((hook for hook in HOOKS if hook.name == name), None)
