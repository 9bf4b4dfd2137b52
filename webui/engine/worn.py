"""The networks that stand on a loaded model: put on by the work that wants them, taken off when the job is over.

The next job mostly wants the same ones: what was read and worked out is kept for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from webui.checkpoints.load import LoadedModel
from webui.engine.memory.machine import Machine
from webui.networks.acted import ActedFile
from webui.networks.apply import AppliedNetworks
from webui.networks.effects import check_effects
from webui.networks.hypertaps import Tap
from webui.networks.kept import KEPT_BYTES, KeptWeights
from webui.networks.opened import OpenedFiles
from webui.networks.steps import Use
from webui.networks.tags import Catalogues
from webui.networks.wanted import WantedNetworks, wanted_networks
from webui.pipeline.work import Networks
from webui.prompt.tags import ExtraNetwork

CHANGED = frozenset({"unet", "text0", "text1"})
"""The modules whose weights are others while networks stand."""
LEAST_FREE = 2**30
"""Bytes that the machine must have left for what is kept between jobs."""
KEPT_SHARE = 8
"""The part of the machine's memory for weights that are kept beside those of the last job: an eighth."""
Key = tuple[tuple[object, float], ...]


class WornNetworks:
    """Those of one model. now: what was wanted last in this job; inputs: what hypernetworks add to the U-Net's
    projections.

    say: told once a job and tag what became of its file. home: brings all weights to where they are changed. device:
    where the U-Net works; None: where its weights are. machine: whose memory is used. again: calls what may find no
    memory, once more where room can be made.
    """

    def __init__(
        self,
        model: LoadedModel,
        catalogues: Catalogues,
        say: Callable[[str], None],
        home: Callable[[], None] = lambda: None,
        device: torch.device | None = None,
        machine: Machine = Machine(),
        again: Callable[[Callable[[], None]], None] = lambda call: call(),
    ) -> None:
        self.now: Networks | None = None
        self.inputs: Mapping[str, Tap] = {}
        self._model = model
        self._catalogues = catalogues
        self._say = say
        self._home = home
        self._device = device
        self._machine = machine
        self._again = again
        self._kept = KeptWeights(kept_limit(machine.total))
        self._applied = AppliedNetworks(model, kept=self._kept, device=device)
        self._files = OpenedFiles()
        self._opened: dict[tuple[ExtraNetwork, ...], WantedNetworks] = {}
        self._uses: tuple[Use, ...] | None = ()

    @property
    def stand(self) -> bool:
        """Whether weights are others than the checkpoint's own."""
        return self._applied.stand

    @property
    def key(self) -> Key:
        """What the text encoders' answers depend on beside the text, as long as `now` is wanted."""
        return tuple((use.network.token, use.te) for use in self._uses or ())

    @property
    def acted(self) -> tuple[ActedFile, ...]:
        """The files of what was wanted last that have any strength in its pass."""
        if self.now is None:
            return ()
        return self._open(self.now.tags).acted(self.now.clock, self.now.first)

    def wear(self, networks: Networks | None) -> None:
        """Let these networks stand on the model, whatever stood there before; None: those that this job wanted last,
        or none where it has not wanted any.

        Raises:
            AtelierError: a file is not there, is for another model, or changes nothing.
        """
        if networks is None and self.now is None:
            self.take_off()
        if networks in (None, self.now):
            return
        opened = self._open(networks.tags)
        uses = opened.uses(networks.step, networks.clock, networks.first)
        self.now = None
        if uses != self._uses:
            self._uses = None  # whatever stands if this fails, it is nothing to go on with
            self._home()
            self._again(lambda: self._applied.set(uses))
            check_effects(uses, self._applied.effects)
            self._uses = uses
        self.inputs = opened.taps(networks.step, networks.clock, self._model.unet)
        self.now = networks

    def job_over(self) -> None:
        """The job wants nothing any more, and files are looked at again."""
        self.take_off()
        self._opened.clear()
        self._files.trim()
        free = self._machine.free
        if free is not None and free < LEAST_FREE:
            self.forget()

    def take_off(self) -> None:
        """Put every weight back as it was."""
        if self.stand:
            self._home()
        self._applied.restore()
        self.now, self._uses, self.inputs = None, (), {}

    @property
    def kept_bytes(self) -> int:
        """Memory of weights that were worked out and do not stand now."""
        return self._kept.bytes

    def forget(self) -> None:
        """Give the memory back of what is kept for the next time; what stands stays."""
        self._kept.clear()
        self._files.clear()

    def _open(self, tags: tuple[ExtraNetwork, ...]) -> WantedNetworks:
        if not tags:
            return WantedNetworks()
        if tags not in self._opened:
            self._again(lambda: self._read(tags))
            for line in self._opened[tags].notes:
                self._say(line)
        return self._opened[tags]

    def _read(self, tags: tuple[ExtraNetwork, ...]) -> None:
        self._opened[tags] = wanted_networks(tags, self._catalogues, self._model, self._files, self._device)


def kept_limit(total: int | None) -> int:
    """Bytes of weights that are kept beside those of the last job. total: the machine's, None where nothing tells."""
    return KEPT_BYTES if total is None else min(KEPT_BYTES, total // KEPT_SHARE)
