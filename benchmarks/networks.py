"""What a LoRA costs: putting it on, further jobs, a step with it: `python -m benchmarks.networks --help`.

The model has random weights of full size, the LoRA the layers that kohya's programs train (attention, feed-forward and
projections of the U-Net, attention and feed-forward of the text encoders), in float16. `--forward` compares a step with
the LoRA in the weights to one in which each layer adds the low-rank product to its output.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.cases import Case, filled, inputs, our_call, ours
from webui.checkpoints.load import LoadedModel
from webui.engine.worn import WornNetworks
from webui.networks.load import model_parts
from webui.networks.tags import Catalogues
from webui.nn.config import SD15, SDXL
from webui.nn.text import build_text
from webui.pipeline.work import Networks
from webui.prompt.schedule import Clock
from webui.prompt.tags import ExtraNetwork

MODELS = {"sd15": SD15, "sdxl": SDXL}
SIZES = {"sd15": 512, "sdxl": 1024}
TRAINED = ("attn", "ff.net", "proj_in", "proj_out", "mlp.fc")
PREFIXES = {"unet": "unet.", "text0": "text_encoder.", "text1": "text_encoder_2."}


def loaded(name: str, dtype: torch.dtype, device: torch.device) -> LoadedModel:
    """A model with random weights; its autoencoder and tokenizers are not needed."""
    config = MODELS[name]
    with torch.device("meta"):
        texts = [build_text(text) for text in config.texts]
    unet: Any = ours(config.unet, dtype, device)
    filled_texts: Any = tuple(filled(text, dtype, device) for text in texts)
    vae: Any = None
    return LoadedModel(config, unet.requires_grad_(False), vae, filled_texts, ())


def layers_of(model: LoadedModel) -> Iterator[tuple[str, str, Tensor]]:
    """(part, name, weight) of the layers that are trained."""
    for part, module in model_parts(model).items():
        for name, layer in module.named_modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)) and any(word in name for word in TRAINED):
                yield part, name, layer.weight


def write_lora(path: Path, model: LoadedModel, rank: int) -> int:
    """A random LoRA of all trained layers. The number of its layers."""
    generator, tensors = torch.Generator().manual_seed(1), dict[str, Tensor]()
    for part, name, weight in layers_of(model):
        out, width = weight.shape[0], weight[0].numel()
        kernel = (1,) * (weight.ndim - 2)
        stem = f"{PREFIXES[part]}{name}"
        tensors[f"{stem}.lora_B.weight"] = (0.01 * torch.randn(out, rank, *kernel, generator=generator)).half()
        tensors[f"{stem}.lora_A.weight"] = torch.randn(rank, width, *kernel, generator=generator).half() / width**0.5
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return len(tensors) // 2


def wanted(*tags: str) -> Networks:
    clock = Clock(20)
    named = (tag.split(":") for tag in tags)
    return Networks(tuple(ExtraNetwork("lora", name, (weight,)) for name, weight in named), clock, clock)


@dataclass(frozen=True)
class Spent:
    """Seconds of one call. cpu: of all threads, which tells the same on a busy machine."""

    wall: float
    cpu: float


def timed(call: Callable[[], Any], device: torch.device) -> Spent:
    """What one call takes."""
    begun, used = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return Spent(time.perf_counter() - begun, time.process_time() - used)


def jobs(model: LoadedModel, models_dir: Path, device: torch.device) -> Iterator[tuple[str, Spent]]:
    """(what, seconds) of what jobs one after the other pay for networks."""
    worn = WornNetworks(model, Catalogues.of(models_dir), lambda line: None)
    for what, networks in (
        ("first job with a LoRA", wanted("a:1")),
        ("second job with it", wanted("a:1")),
        ("third job, another weight", wanted("a:0.7")),
        ("fourth job, two LoRAs", wanted("a:0.7", "b:0.5")),
        ("fifth job, one again", wanted("a:0.7")),
    ):
        yield f"{what}: on", timed(lambda networks=networks: worn.wear(networks), device)  # type: ignore[misc]
        yield f"{what}: its end", timed(worn.job_over, device)


class Added(nn.Module):
    """A layer that adds a low-rank product to its output."""

    def __init__(self, layer: nn.Module, rank: int) -> None:
        super().__init__()
        weight: Tensor = layer.weight  # type: ignore[assignment]
        kernel = weight.shape[2:]
        self.layer = layer
        self.down = nn.Parameter(torch.randn(rank, *weight.shape[1:]).to(weight), requires_grad=False)
        self.up = nn.Parameter(torch.randn(weight.shape[0], rank, *(1 for _ in kernel)).to(weight), requires_grad=False)
        self.apply_one: Callable[[Tensor, Tensor], Tensor] = nn.functional.conv2d if kernel else nn.functional.linear

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out + self.apply_one(self.apply_one(x, self.down), self.up)


@contextmanager
def adding(unet: nn.Module, rank: int) -> Iterator[None]:
    """While it is open, the trained layers add their product instead of having it in their weights."""
    names = [
        name
        for name, layer in unet.named_modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and any(word in name for word in TRAINED)
    ]
    plain = {name: unet.get_submodule(name) for name in names}
    for name, layer in plain.items():
        unet.set_submodule(name, Added(layer, rank))
    try:
        yield
    finally:
        for name, layer in plain.items():
            unet.set_submodule(name, layer)


def forwards(model: LoadedModel, chosen: argparse.Namespace) -> Iterator[tuple[str, Spent]]:
    """(what, seconds) of a step with the LoRA in the weights, and beside them; the least of several."""
    device, dtype = torch.device(chosen.device), getattr(torch, chosen.dtype)
    size = chosen.size or SIZES[chosen.model]
    case = Case(chosen.model, size, 2, chosen.dtype, chosen.device, chosen.threads, False, "")
    call = our_call(model.unet, inputs(model.config, case, dtype, device))
    inside, beside = [], []
    timed(call, device)
    for _ in range(chosen.repeats):
        inside.append(timed(call, device))
        with adding(model.unet, chosen.rank):
            beside.append(timed(call, device))
    yield f"a step of {size} x {size}, two rows, LoRA in the weights", min(inside, key=lambda spent: spent.cpu)
    yield "the same, LoRA beside them", min(beside, key=lambda spent: spent.cpu)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="sd15")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--forward", action="store_true", help="measure steps, too")
    parser.add_argument("--size", type=int, help="side of the picture in pixels (default: the model's own)")
    parser.add_argument("--repeats", type=int, default=3, help="steps of each kind")
    return parser.parse_args(arguments)


def main() -> None:
    chosen = options()
    torch.set_num_threads(chosen.threads)
    device, dtype = torch.device(chosen.device), getattr(torch, chosen.dtype)
    model = loaded(chosen.model, dtype, device)
    out = sys.stdout.write
    with tempfile.TemporaryDirectory() as folder:
        for name in "ab":
            count = write_lora(Path(folder, "Lora", f"{name}.safetensors"), model, chosen.rank)
        out(f"{chosen.model}, {chosen.dtype}, {chosen.device}, {chosen.threads} threads; rank {chosen.rank}, ")
        out(f"{count} layers\n")
        rows = [*jobs(model, Path(folder), device), *(forwards(model, chosen) if chosen.forward else ())]
    for what, spent in rows:
        out(f"{what}: {spent.wall:.3f} s, {spent.cpu:.3f} s of the CPU\n")


if __name__ == "__main__":
    main()
