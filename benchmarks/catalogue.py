"""How fast model files are listed and found: `python -m benchmarks.catalogue --files 10000`.

Writes so many small safetensors files with the headers of LoRAs (264 layers, training tags) and some checkpoints into a
folder of its own, which is removed afterwards. Each figure is taken in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from webui.networks.library import Library

FOLDERS = 100
LAYERS = 264
LOOKUPS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where to write them (default: the folder for temporary files)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.files)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as root:
        write(Path(root) / "models", options.files)
        for title in ("first start (no cache)", "second start (cache)"):
            sys.stdout.write(f"{title}\n")
            command = [sys.executable, "-m", "benchmarks.catalogue", "--files", str(options.files), "--measure", root]
            subprocess.run(command, check=True)


def measure(root: Path, files: int) -> None:
    """Figures of one process that starts now."""
    before = memory()
    library = Library.of(root / "models", root / "data")
    tell("listing, cold", once(library.items))
    tell("listing, warm", best(library.items))
    tell("listing, all folders read anew", best(library.refresh))
    networks = library.named.networks
    names = [f"kind {number % FOLDERS}/lora {number}" for number in range(0, files, max(1, files // LOOKUPS))]
    tell("finding one by its name", once(lambda: [networks.find(name) for name in names]) / len(names))
    new = root / "models" / "Lora" / "kind 0" / f"new {time.time()}.safetensors"
    lora(new, files)
    tell("finding one that has just come", once(lambda: networks.find(new.stem)))
    new.unlink()
    sys.stdout.write(f"  memory: {(memory() - before) / 1e6:.0f} MB\n")


def write(models: Path, files: int) -> None:
    for number in range(files):
        lora(models / "Lora" / f"kind {number % FOLDERS}" / f"lora {number}.safetensors", number)


def lora(path: Path, number: int) -> None:
    """A file of four bytes of weights for each tensor, with the header of a LoRA for SD 1.x."""
    block = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0"
    names = [f"{block}_attn2_to_k"] + [
        f"{block}_attn1_to_{side}_{layer}" for layer in range(LAYERS // 2) for side in "qv"
    ]
    header: dict[str, object] = {}
    at = 0
    for name in names:
        for part, shape in (("lora_down.weight", [1, 768 if name.endswith("to_k") else 1]), ("lora_up.weight", [1, 1])):
            size = 2 * shape[0] * shape[1]
            header[f"{name}.{part}"] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
            at += size
    tags = {"10_style": {f"tag {index}": index for index in range(50)}}
    header["__metadata__"] = {"ss_tag_frequency": json.dumps(tags), "ss_output_name": f"style {number}"}
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))


def once(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def best(act: Callable[[], object], times: int = 5) -> float:
    return min(once(act) for _ in range(times))


def tell(what: str, seconds: float) -> None:
    sys.stdout.write(f"  {what}: {seconds * 1000:,.2f} ms\n")
    sys.stdout.flush()


def memory() -> float:
    """Bytes that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
