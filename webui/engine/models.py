"""What is loaded: the checkpoint that draws, and those that stay in memory for when they are asked for again."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.files import stamp_of
from webui.checkpoints.load import LoadedModel, check_checkpoint, load_checkpoint
from webui.checkpoints.tiny import TinyCatalogue
from webui.diffusion.preview import family_factors
from webui.engine.devices import Placement
from webui.engine.executor import Executor, ignore
from webui.engine.held import Garage, HeldCheckpoint, VaeFile
from webui.engine.memory.job_plan import explained, job_plan, unet_work_of
from webui.engine.memory.keeping import budget
from webui.engine.memory.machine import Machine, device_room, limit_device
from webui.engine.memory.model_parts import header_bytes
from webui.engine.memory.plan import Plan
from webui.engine.memory.residency import Residency
from webui.engine.preview import Draw
from webui.engine.tiny import TinyDecoders
from webui.engine.worn import CHANGED
from webui.networks.acted import Hashes
from webui.networks.tags import Catalogues
from webui.nn.out_of_memory import is_out_of_memory
from webui.schema.errors import OutOfMemory
from webui.schema.generation import AUTOMATIC_VAE
from webui.schema.memory import MemoryOptions
from webui.schema.requests import Request


class Models:
    """The one owner of loaded weights. hashes: of network files, each read once; tiny: what draws previews; memory: of
    the device; options: what the user gave of it, and of the machine's."""

    def __init__(
        self,
        catalogue: Catalogue,
        placement: Placement,
        options: MemoryOptions = MemoryOptions(),
        machine: Machine | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.placement = placement
        self.options = options
        self.machine = machine or Machine()
        self.hashes = Hashes(catalogue.memory.cache)
        self.tiny = TinyDecoders(TinyCatalogue(catalogue.places, catalogue.memory), placement)
        limit_device(placement.device, options.gpu_bytes)
        room = partial(device_room, placement.device, options.gpu_bytes)
        self.memory = Residency.on(placement.device, room, self._spare)
        self.garage = Garage(budget(self.machine.total, options.cpu_bytes), self.memory)
        self._networks = Catalogues.of(catalogue.places, catalogue.memory)
        self._explained: set[tuple[str, str]] = set()

    def holds(self, name: str, vae: str = AUTOMATIC_VAE) -> bool:
        """Whether this model is the present one with this VAE, from files that are still the same."""
        present = self.garage.present
        return self.holds_checkpoint(name) and present is not None and present.vae == self._vae_of(name, vae)

    def executor(self, name: str, vae: str = AUTOMATIC_VAE) -> Executor:
        """The executor of a model with a VAE, both of which are loaded now unless they are already.

        Raises:
            ModelError, NotFound: when a file cannot be used. Where its header says so, the old model stays the present.
            OutOfMemory: when there is not enough memory for it.
        """
        wanted, path = self._vae_of(name, vae), self.catalogue.path(name)
        held = self.garage.find(name, path)
        if held is None:
            held = self._read(name, path)
        self.garage.use(held)
        if held.vae != wanted:
            self.memory.run((), partial(held.use_vae, wanted, self.placement))
        return held.executor

    def holds_checkpoint(self, name: str) -> bool:
        """Whether this model is the present one, with whichever VAE."""
        held = self.garage.find(name, self.catalogue.path(name))
        return held is not None and held is self.garage.present

    def has_read(self, name: str) -> bool:
        """Whether this model is in memory, so that it needs not be read."""
        return self.garage.find(name, self.catalogue.path(name)) is not None

    def plan(self, request: Request, controls: Mapping[str, int], note: Callable[[str], None]) -> Plan | None:
        """Decide what is on the device when, for this job on the present model. None where nothing ever moves.

        controls: name -> bytes of its control networks. note: told once of a model where it is slower than asked for.
        """
        held = self.garage.present
        if held is None:
            return None
        executor, itemsize = held.executor, self.placement.dtype.itemsize
        executor.drawing = unet_work_of(request, executor.config, itemsize)
        room = self.memory.room if self.memory.moves else None
        if room is None:
            return None
        known = self.memory.corrections
        plan = job_plan(request, executor.config, executor.parts, controls, itemsize, known, room, self.options.vram)
        self.memory.use(plan.manner)
        if self.options.vram == "auto" and plan.manner != "together":
            if (held.name, plan.manner) not in self._explained:
                note(explained(plan, room))
            self._explained.add((held.name, plan.manner))
        return plan

    def _vae_of(self, name: str, vae: str) -> VaeFile | None:
        """The VAE file that is meant for a model, as it is now; None: the model's own."""
        path = self.catalogue.vaes.chosen(vae, self.catalogue.path(name))
        return None if path is None else (path, stamp_of(path))

    @property
    def present(self) -> Executor:
        """The executor of what draws, whatever became of its file. Only while something is loaded."""
        assert self.garage.present is not None
        return self.garage.present.executor

    def _read(self, name: str, path: Path) -> HeldCheckpoint:
        checked = check_checkpoint(path)
        coming = header_bytes(checked.header, self.placement.dtype.itemsize)
        if self.garage.make_room(coming, self.machine.free):
            self._let_go()
        stamp = stamp_of(path)
        model = self._load(path)
        executor = Executor(model, self.placement, self._networks, name, self.memory, self.machine)
        held = HeldCheckpoint(name, stamp, executor)
        self.garage.add(held)
        return held

    def _load(self, path: Path) -> LoadedModel:
        """Into the machine's memory, which is where weights are at home; again where others can make room for it."""
        for last in (False, True):
            try:
                return load_checkpoint(path, self.placement.dtype, "cpu", self.placement.unet_storage)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            if last or not self._spare():
                break
        raise OutOfMemory(
            f"There is not enough memory to load {path.name}.",
            "Close other programs that use it, choose a smaller model, or start with --dtype float16.",
        )

    def _spare(self) -> bool:
        """Let go of what no job uses; whether there was anything."""
        kept = self.garage.present is not None and self.garage.present.executor.worn.kept_bytes > 0
        if self.garage.present is not None:
            self.garage.present.executor.worn.forget()
        spared = self.garage.drop_idle() or kept
        if spared:
            self._let_go()
        return spared

    def drop_present(self) -> None:
        """Let the present model go; the others stay."""
        if self.garage.present is not None:
            self.garage.drop(self.garage.present)
        self._let_go()

    def unload(self) -> None:
        """Let all loaded models go."""
        self.garage.clear()
        self.tiny.release()
        self._let_go()

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The present model's modules by name; none while no model is loaded."""
        if self.garage.present is None:
            return {}
        model = self.present.model
        texts = {f"text{index}": text for index, text in enumerate(model.texts)}
        return {"unet": model.unet, "vae": model.vae, **texts}

    @property
    def changed(self) -> frozenset[str]:
        """The modules whose weights the program itself has changed for the present work."""
        return CHANGED if self.garage.present is not None and self.present.worn.stand else frozenset()

    def job_over(self) -> None:
        """The job wants nothing any more."""
        self.memory.note = ignore
        if self.garage.present is not None:
            self.present.job_over()

    @property
    def casts(self) -> int:
        """How often the program itself changed the VAE's number format."""
        return self.present.casts if self.garage.present is not None else 0

    @property
    def preview_factors(self) -> Tensor | None:
        """(channels + 1, 3) linear map from latents to colours: the file's own, or its family's."""
        if self.garage.present is None:
            return None
        model = self.present.model
        return model.preview_factors if model.preview_factors is not None else family_factors(model.config.family)

    def tiny_preview(self) -> Draw | None:
        """What draws previews of the present model by a tiny decoder; None where none is at hand that fits."""
        file = self.tiny.file(self.present.model.config.vae) if self.garage.present is not None else None
        return None if file is None else partial(self.tiny.draw, file)

    def free_cache(self) -> None:
        """Give memory back that is kept for later."""
        self.memory.give_back()

    def _let_go(self) -> None:
        """Weights that nobody holds any more go now."""
        gc.collect()  # modules hold reference cycles
        self.free_cache()
