"""What is loaded: one checkpoint at a time, kept until another is asked for."""

from __future__ import annotations

import gc
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.files import Stamp, stamp_of
from webui.checkpoints.load import LoadedModel, check_checkpoint, load_checkpoint
from webui.checkpoints.tiny import TinyCatalogue
from webui.checkpoints.vae_load import load_vae
from webui.diffusion.preview import family_factors
from webui.engine.devices import Placement, is_out_of_memory
from webui.engine.executor import Executor
from webui.engine.preview import Draw
from webui.engine.tiny import TinyDecoders
from webui.engine.worn import CHANGED
from webui.networks.acted import Hashes
from webui.networks.tags import Catalogues
from webui.nn.vae import VAE
from webui.schema.errors import OutOfMemory
from webui.schema.generation import AUTOMATIC_VAE


class Models:
    """The one owner of loaded weights. hashes: of network files, each read once; tiny: what draws previews."""

    def __init__(self, catalogue: Catalogue, placement: Placement) -> None:
        self.catalogue = catalogue
        self.placement = placement
        self.hashes = Hashes(catalogue.memory.cache)
        self.tiny = TinyDecoders(TinyCatalogue(catalogue.places, catalogue.memory), placement)
        self._networks = Catalogues.of(catalogue.places, catalogue.memory)
        self._name: str | None = None
        self._stamp: Stamp | None = None
        self._executor: Executor | None = None
        self._vae: tuple[Path, Stamp] | None = None
        self._own_vae: VAE | None = None

    def holds(self, name: str, vae: str = AUTOMATIC_VAE) -> bool:
        """Whether this model is loaded with this VAE, from files that are still the same."""
        return self.holds_checkpoint(name) and self._vae == self._vae_of(name, vae)

    def executor(self, name: str, vae: str = AUTOMATIC_VAE) -> Executor:
        """The executor of a model with a VAE, both of which are loaded now unless they are already.

        Raises:
            ModelError, NotFound: when a file cannot be used. Where its header says so, the old model stays loaded.
            OutOfMemory: when the device cannot hold it.
        """
        wanted = self._vae_of(name, vae)
        if not self.holds_checkpoint(name):
            path = self.catalogue.path(name)
            check_checkpoint(path)
            self.unload()
            stamp = stamp_of(path)
            self._executor = Executor(self._load(path), self.placement, self._networks)
            self._stamp, self._name = stamp, name
        if self._vae != wanted:
            self._change_vae(wanted)
        return self.present

    def holds_checkpoint(self, name: str) -> bool:
        """Whether this model is loaded, with whichever VAE."""
        return self._executor is not None and name == self._name and self._stamp == stamp_of(self.catalogue.path(name))

    def _vae_of(self, name: str, vae: str) -> tuple[Path, Stamp] | None:
        """The VAE file that is meant for a model, as it is now; None: the model's own."""
        path = self.catalogue.vaes.chosen(vae, self.catalogue.path(name))
        return None if path is None else (path, stamp_of(path))

    def _change_vae(self, wanted: tuple[Path, Stamp] | None) -> None:
        """Put the VAE of a file in the place of the checkpoint's own, which waits in memory; or put that back."""
        device, dtype = self.placement.device, self.placement.dtype
        if wanted is None:
            assert self._own_vae is not None
            self.present.use_vae(self._own_vae.to(device))
            self._vae = self._own_vae = None
            return
        loaded = load_vae(wanted[0], self.present.config.vae, dtype, device)
        if self._own_vae is None:
            self._own_vae = self.present.model.vae.to("cpu")
        self.present.use_vae(loaded)
        self._vae = wanted

    @property
    def present(self) -> Executor:
        """The executor of what is loaded, whatever became of its file. Only while something is."""
        assert self._executor is not None
        return self._executor

    def _load(self, path: Path) -> LoadedModel:
        try:
            return load_checkpoint(path, self.placement.dtype, self.placement.device, self.placement.unet_storage)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(
                f"There is not enough memory on {self.placement.device} to load {path.name}.",
                "Close other programs that use it, choose a smaller model, or start with --dtype float16.",
            ) from None

    def unload(self) -> None:
        """Let the loaded model go, so that there is room for the next one: two need not fit at once."""
        self._name = self._stamp = self._executor = self._vae = self._own_vae = None
        self.tiny.release()
        gc.collect()  # modules hold reference cycles: the weights go now, not later
        self.free_cache()

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The loaded modules by name; none while no model is loaded."""
        if self._executor is None:
            return {}
        model = self._executor.model
        texts = {f"text{index}": text for index, text in enumerate(model.texts)}
        return {"unet": model.unet, "vae": model.vae, **texts}

    @property
    def changed(self) -> frozenset[str]:
        """The modules whose weights the program itself has changed for the present work."""
        return CHANGED if self._executor is not None and self._executor.worn.stand else frozenset()

    def job_over(self, leave: bool = True) -> None:
        """The job wants nothing any more. leave: as of `WornNetworks.job_over`; where extensions ran, the checkpoint's
        own weights are to be seen."""
        if self._executor is not None:
            self._executor.job_over(leave)

    def settle(self) -> None:
        """Put back what networks of a job before this one still change."""
        if self._executor is not None:
            self._executor.worn.settle()

    @property
    def casts(self) -> int:
        """How often the program itself changed the VAE's number format."""
        return self._executor.casts if self._executor is not None else 0

    @property
    def preview_factors(self) -> Tensor | None:
        """(channels + 1, 3) linear map from latents to colours: the file's own, or its family's."""
        if self._executor is None:
            return None
        model = self._executor.model
        return model.preview_factors if model.preview_factors is not None else family_factors(model.config.family)

    def tiny_preview(self) -> Draw | None:
        """What draws previews of the loaded model by a tiny decoder; None where none is at hand that fits."""
        file = self.tiny.file(self._executor.model.config.vae) if self._executor is not None else None
        return None if file is None else partial(self.tiny.draw, file)

    def free_cache(self) -> None:
        """Give memory back that torch keeps for later."""
        if self.placement.device.type == "cuda":
            torch.cuda.empty_cache()
