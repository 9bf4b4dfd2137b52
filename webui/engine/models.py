"""What is loaded: one checkpoint at a time, kept until another is asked for."""

from __future__ import annotations

import gc
from pathlib import Path

import torch
from torch import Tensor, nn

from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.load import LoadedModel, check_checkpoint, load_checkpoint
from webui.diffusion.preview import family_factors
from webui.engine.devices import Placement, is_out_of_memory
from webui.engine.executor import Executor
from webui.schema.errors import OutOfMemory


class Models:
    """The one owner of loaded weights."""

    def __init__(self, catalogue: Catalogue, placement: Placement) -> None:
        self.catalogue = catalogue
        self.placement = placement
        self._name: str | None = None
        self._stamp: tuple[int, int] | None = None
        self._model: LoadedModel | None = None
        self._executor: Executor | None = None

    def holds(self, name: str) -> bool:
        """Whether this model is loaded, and its file is still the one it was loaded from."""
        return self._model is not None and name == self._name and self._stamp == self._file_stamp(name)

    def executor(self, name: str) -> Executor:
        """The executor of a model, which is loaded now unless it is already.

        Raises:
            ModelError, NotFound: when the file cannot be used. Where its header says so, the old model stays loaded.
            OutOfMemory: when the device cannot hold it.
        """
        if not self.holds(name):
            path = self.catalogue.path(name)
            check_checkpoint(path)
            self.unload()
            stamp = self._file_stamp(name)
            self._model = self._load(path)
            self._stamp, self._name, self._executor = stamp, name, Executor(self._model, self.placement)
        return self.present

    @property
    def present(self) -> Executor:
        """The executor of what is loaded, whatever became of its file. Only while something is."""
        assert self._executor is not None
        return self._executor

    def _load(self, path: Path) -> LoadedModel:
        try:
            return load_checkpoint(path, self.placement.dtype, self.placement.device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(
                f"There is not enough memory on {self.placement.device} to load {path.name}.",
                "Close other programs that use it, choose a smaller model, or start with --dtype float16.",
            ) from None

    def unload(self) -> None:
        """Let the loaded model go, so that there is room for the next one: two need not fit at once."""
        self._name = self._stamp = self._model = self._executor = None
        gc.collect()  # modules hold reference cycles: the weights go now, not later
        self.free_cache()

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The loaded modules by name; none while no model is loaded."""
        if self._model is None:
            return {}
        texts = {f"text{index}": text for index, text in enumerate(self._model.texts)}
        return {"unet": self._model.unet, "vae": self._model.vae, **texts}

    @property
    def casts(self) -> int:
        """How often the program itself changed the VAE's number format."""
        return self._executor.casts if self._executor is not None else 0

    @property
    def preview_factors(self) -> Tensor | None:
        """(channels + 1, 3) linear map from latents to colours: the file's own, or its family's."""
        if self._model is None:
            return None
        own = self._model.preview_factors
        return own if own is not None else family_factors(self._model.config.family)

    def free_cache(self) -> None:
        """Give memory back that torch keeps for later."""
        if self.placement.device.type == "cuda":
            torch.cuda.empty_cache()

    def _file_stamp(self, name: str) -> tuple[int, int]:
        status = self.catalogue.path(name).stat()
        return status.st_mtime_ns, status.st_size
