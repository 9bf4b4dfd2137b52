"""The networks that stand on a loaded model: put on by the work that wants them, taken off when the job is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from webui.checkpoints.load import LoadedModel
from webui.networks.acted import ActedFile
from webui.networks.apply import AppliedNetworks, check_effects
from webui.networks.hypertaps import Tap
from webui.networks.steps import Use
from webui.networks.tags import Catalogues
from webui.networks.wanted import WantedNetworks, wanted_networks
from webui.pipeline.work import Networks
from webui.prompt.tags import ExtraNetwork

CHANGED = frozenset({"unet", "text0", "text1"})
"""The modules whose weights are others while networks stand."""


class WornNetworks:
    """Those of one model. now: what was wanted last; inputs: what hypernetworks add to the U-Net's projections.

    say: told once a job and tag what became of its file.
    """

    def __init__(self, model: LoadedModel, catalogues: Catalogues, say: Callable[[str], None]) -> None:
        self.now: Networks | None = None
        self.inputs: Mapping[str, Tap] = {}
        self._model = model
        self._catalogues = catalogues
        self._say = say
        self._applied = AppliedNetworks(model)
        self._opened: dict[tuple[ExtraNetwork, ...], WantedNetworks] = {}
        self._uses: tuple[Use, ...] = ()

    @property
    def stand(self) -> bool:
        """Whether weights may be others than the checkpoint's own."""
        return bool(self._uses)

    @property
    def acted(self) -> tuple[ActedFile, ...]:
        """The files of what was wanted last that have any strength in its pass."""
        if self.now is None:
            return ()
        return self._open(self.now.tags).acted(self.now.clock, self.now.first)

    def wear(self, networks: Networks) -> None:
        """Let these networks stand on the model, whatever stood there before.

        Raises:
            AtelierError: a file is not there, is for another model, or changes nothing.
        """
        if networks == self.now:
            return
        opened = self._open(networks.tags)
        uses = opened.uses(networks.step, networks.clock, networks.first)
        self.now = None
        if uses != self._uses:
            self._uses = uses
            self._applied.set(uses)
            check_effects(uses, self._applied.effects)
        self.inputs = opened.taps(networks.step, networks.clock, self._model.unet)
        self.now = networks

    def take_off(self) -> bool:
        """Put every weight back as it was. Whether anything was worn."""
        worn = bool(self._opened)
        self._applied.restore()
        self._opened.clear()
        self.now, self._uses, self.inputs = None, (), {}
        return worn

    def _open(self, tags: tuple[ExtraNetwork, ...]) -> WantedNetworks:
        if not tags:
            return WantedNetworks()
        if tags not in self._opened:
            self._opened[tags] = wanted_networks(tags, self._catalogues, self._model)
            for line in self._opened[tags].notes:
                self._say(line)
        return self._opened[tags]
