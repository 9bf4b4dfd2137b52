"""Finds what a job left changed: in the models, and in the process that all jobs share.

An extension hands in arguments, so there is nothing for it to leave behind; code that patches all the same is caught
here. What can be put back is put back at once; the caller drops the models, or the process, for the rest.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SAMPLES = 64
"""Numbers of each weight that are summed: a write through `.data` moves no version counter."""
CORE = "webui."
CONTENT = 3
"""Where in what is remembered of a weight its format and content begin."""
NAMED = 2
"""Leaks that are told one by one."""
_HOOKS = tuple(name for name in vars(nn.Module()) if name.endswith("_hooks"))


@dataclass(frozen=True)
class Leak:
    """Something that was left changed. process: it concerns all that runs here, not the models alone."""

    what: str
    process: bool = False


@dataclass(frozen=True)
class ModelPrint:
    """The modules and weights of loaded models, as far as a patch would change them."""

    modules: Mapping[str, tuple[Any, ...]]
    weights: Mapping[str, tuple[Any, ...]]

    @classmethod
    def of(cls, models: Mapping[str, nn.Module], sampled: bool = True) -> ModelPrint:
        """sampled: whether the content of weights is looked at, which makes a GPU wait."""
        modules, weights = {}, {}
        for root, model in models.items():
            for name, module in model.named_modules(prefix=root):
                modules[name] = module_print(module)
            for name, weight in (*model.named_parameters(prefix=root), *model.named_buffers(prefix=root)):
                weights[name] = weight_print(weight, sampled)
        return cls(modules, weights)

    def changes(
        self,
        models: Mapping[str, nn.Module],
        moved: frozenset[str] = frozenset(),
        sampled: bool = True,
        placed: bool = True,
    ) -> list[str]:
        """What differs now, each in words. moved: models whose weights the program itself changed or cast meanwhile.
        placed: whether a weight's place counts; not where the program brings weights to a device and away again."""
        now = ModelPrint.of(models, sampled)
        before = self.weights if sampled else {name: (*known[:-1], None) for name, known in self.weights.items()}
        changed = [f"the module {name} was patched" for name in differing(self.modules, now.modules)]
        seen = slice(0 if placed else CONTENT, None)
        return changed + [
            f"the weight {name} was changed"
            for name in differing(cut(before, seen), cut(now.weights, seen))
            if name.partition(".")[0] not in moved
        ]


def module_print(module: nn.Module) -> tuple[Any, ...]:
    """What is patched in a module, its attributes and its mode."""
    return len(vars(module)), module.training, *patch_print(module)


def patch_print(module: nn.Module) -> tuple[Any, ...]:
    """Identity, class, functions set on the object, and hooks of a module."""
    own = vars(module)
    patched = tuple(sorted(name for name, value in own.items() if callable(value)))
    return id(module), type(module), patched, tuple(len(own[name] or ()) for name in _HOOKS)


def weight_print(weight: Tensor, sampled: bool = True) -> tuple[Any, ...]:
    """Place, format and content of a weight."""
    version = 0 if weight.is_inference() else weight._version
    return weight.data_ptr(), version, weight.device, *content_print(weight, sampled)


def cut(weights: Mapping[str, tuple[Any, ...]], seen: slice) -> dict[str, tuple[Any, ...]]:
    """Of each weight what counts."""
    return {name: known[seen] for name, known in weights.items()}


def content_print(weight: Tensor, sampled: bool = True) -> tuple[Any, ...]:
    """Format and content of a weight: a sum of samples, the same on every device, or None."""
    content = None
    if sampled:
        flat = weight.detach().flatten()
        content = float(flat[:: max(1, flat.numel() // SAMPLES)].cpu().double().sum())
    return weight.dtype, tuple(weight.shape), content


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names whose value is another one, or is there in one of the two alone. NaN counts as itself."""
    names = dict.fromkeys((*before, *now))
    return [name for name in names if repr(before.get(name)) != repr(now.get(name))]


@dataclass(frozen=True)
class Probe:
    """A setting of the process. harmless: the program itself does not read it, so that putting it back is enough.
    hidden: whether it cannot be seen now."""

    what: str
    get: Callable[[], Any]
    put: Callable[[Any], Any]
    harmless: bool = False
    hidden: Callable[[], bool] = lambda: False


def probes() -> tuple[Probe, ...]:
    """The settings that code in one job could leave for the next.

    Not the gradient mode while in inference mode: that hides it, and takes along what is set within when it ends.
    """
    return (
        Probe(
            "torch's gradient mode",
            torch.is_grad_enabled,
            torch.set_grad_enabled,
            hidden=torch.is_inference_mode_enabled,
        ),
        Probe("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
        Probe("torch's default device", _default_device, torch.set_default_device),
        Probe("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        Probe(
            "torch's deterministic mode", torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms
        ),
        Probe("torch's matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        Probe("the working folder", os.getcwd, os.chdir),
        Probe("sys.path", lambda: list(sys.path), _put_path),
        Probe("torch's global random state", _torch_random, _put_torch_random, harmless=True),
        Probe("numpy's global random state", np.random.get_state, np.random.set_state, harmless=True),
        Probe("Python's global random state", random.getstate, random.setstate, harmless=True),
    )


@dataclass(frozen=True)
class ProcessPrint:
    """The settings of the process, and the functions of torch and of the program."""

    settings: tuple[tuple[Probe, Any], ...]
    functions: tuple[tuple[Any, dict[str, Any]], ...] = field(repr=False)

    @classmethod
    def now(cls) -> ProcessPrint:
        # it wraps torch.manual_seed when it is first imported, which transformers does when it reads a first model
        import_module("torch._dynamo")
        settings = tuple((probe, probe.get()) for probe in probes() if not probe.hidden())
        return cls(settings, tuple((owner, functions_of(owner)) for owner in guarded()))

    def changed_settings(self) -> list[str]:
        """The settings that differ now, in words; not the harmless ones."""
        told = [(probe, value) for probe, value in self.settings if not (probe.harmless or probe.hidden())]
        return [_changed(probe) for probe, value in told if not same(probe.get(), value)]

    def replaced_functions(self) -> list[str]:
        """The functions that are others now, in words."""
        return [_replaced(owner, name) for owner, known in self.functions for name in replaced_functions(owner, known)]

    def heal(self) -> list[Leak]:
        """Put back what differs now; what it was. A harmless setting is put back without a word."""
        leaks = []
        for probe, value in self.settings:
            if not probe.hidden() and not same(probe.get(), value):
                probe.put(value)
                if not probe.harmless:
                    leaks.append(Leak(_changed(probe), process=True))
        for owner, known in self.functions:
            for name in replaced_functions(owner, known):
                leaks.append(Leak(_replaced(owner, name), process=True))
                setattr(owner, name, known[name])
        return leaks


def guarded() -> list[Any]:
    """Modules and classes whose functions every picture is drawn with: torch's, and the program's own."""
    layers = [kind for kind in vars(nn).values() if isinstance(kind, type) and issubclass(kind, nn.Module)]
    own = [module for name, module in list(sys.modules.items()) if name.startswith(CORE)]
    classes = [kind for module in own for kind in list(vars(module).values()) if _is_own_class(kind, module)]
    return [torch, torch.nn.functional, Tensor, nn.Module, *layers, *own, *classes]


def functions_of(owner: Any) -> dict[str, Any]:
    """The functions and classes of a module, the functions of a class, by name."""
    return {name: value for name, value in vars(owner).items() if callable(value) or isinstance(value, _METHODS)}


_METHODS = (staticmethod, classmethod, property)


def replaced_functions(owner: Any, known: Mapping[str, Any]) -> list[str]:
    """Names that stand for something else now."""
    now = vars(owner)
    return [name for name, value in known.items() if now.get(name) is not value]


def same(one: Any, other: Any) -> bool:
    """Whether two settings are equal; arrays and what holds them included."""
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _default_device() -> Any:
    """None while nobody has set one."""
    device = torch.get_default_device()
    return None if device.type == "cpu" else device


def _torch_random() -> bytes:
    return torch.get_rng_state().numpy().tobytes()


def _put_torch_random(state: bytes) -> None:
    torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


def _put_path(path: list[str]) -> None:
    sys.path[:] = path


def _is_own_class(kind: Any, module: Any) -> bool:
    return isinstance(kind, type) and kind.__module__ == module.__name__


def some(leaks: Sequence[Leak]) -> str:
    """The first of them, and how many there are."""
    rest = len(leaks) - NAMED
    return "; ".join(leak.what for leak in leaks[:NAMED]) + (f"; and {rest} more" if rest > 0 else "")


def _changed(probe: Probe) -> str:
    return f"{probe.what} was changed"


def _replaced(owner: Any, name: str) -> str:
    return f"{owner.__qualname__ if isinstance(owner, type) else owner.__name__}.{name} was replaced"
