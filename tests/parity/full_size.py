"""Full-size checkpoints with random weights: written in both layouts, run by us and by diffusers, each in its process.

    python -m tests.parity.full_size write NAME FOLDER           NAME.safetensors (ldm) and NAME/ (diffusers), fp16
    python -m tests.parity.full_size ours NAME PATH ANSWERS      what we answer, in float32
    python -m tests.parity.full_size theirs NAME PATH ANSWERS    what diffusers and transformers answer

diffusers' own conversion makes the folder of the single file, so that no name is ours alone.
"""

from __future__ import annotations

import gc
import json
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from tests.parity.families import given_to, our_answers, text_answers, text_class, unet_answer, vae_answers
from tests.published import PUBLISHED, ldm_shapes
from webui.checkpoints.load import load_checkpoint, read_checkpoint

POOL = 1 << 26
"""Numbers drawn once, more than the largest tensor has; each tensor is a stretch of them that begins elsewhere."""


def write(name: str, folder: Path) -> None:
    """Write both layouts."""
    pool = torch.randn(POOL, generator=torch.Generator().manual_seed(0))
    tensors = {key: random_tensor(key, shape, pool) for key, shape in ldm_shapes(name).items()}
    save_file(tensors, folder / f"{name}.safetensors")
    known, target = PUBLISHED[name], folder / name
    configs = {"unet": known.unet, "vae": known.vae, **known.texts}
    save_part(target / "unet", convert_ldm_unet_checkpoint(tensors, {"class_embed_type": None, **known.unet}))
    save_part(target / "vae", convert_ldm_vae_checkpoint(tensors, known.vae))
    for prefix, part in zip(known.prefixes, known.texts, strict=True):
        save_part(target / part, text_tensors(tensors, prefix, known.texts[part]))
    for part, config in configs.items():
        (target / part / "config.json").write_text(json.dumps(config))
    (target / "scheduler").mkdir()
    (target / "scheduler" / "scheduler_config.json").write_text(json.dumps(known.scheduler))
    (target / "model_index.json").write_text(json.dumps({"_class_name": known.pipeline}))


def random_tensor(name: str, shape: tuple[int, ...], pool: Tensor) -> Tensor:
    """(shape) in fp16, of the size that keeps the variance of what flows through it."""
    count = torch.Size(shape).numel()
    start = zlib.crc32(name.encode()) % (POOL - count)
    noise = pool[start : start + count].reshape(shape)
    if len(shape) > 1:
        drawn = noise / max(1, torch.Size(shape[1:]).numel()) ** 0.5
    else:
        drawn = 0.1 * noise if name.endswith("bias") else 1 + 0.2 * noise
    return drawn.half()


def text_tensors(tensors: Mapping[str, Tensor], prefix: str, config: dict[str, object]) -> dict[str, Tensor]:
    """A text encoder under transformers' names."""
    if not prefix.endswith("model."):
        return {key.removeprefix(prefix): one for key, one in tensors.items() if key.startswith(prefix)}
    with torch.device("meta"):
        model = CLIPTextModelWithProjection(CLIPTextConfig(**config))
    return convert_open_clip_checkpoint(model, dict(tensors), prefix)


def save_part(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.mkdir(parents=True)
    stem = "model" if path.name.startswith("text") else "diffusion_pytorch_model"
    save_file({key: one.contiguous() for key, one in tensors.items()}, path / f"{stem}.safetensors", {"format": "pt"})


def ours(name: str, path: Path) -> dict[str, Tensor]:
    """Our answers: the weights stay mapped in fp16, and become float32 part by part."""
    model = load_checkpoint(path, torch.float16)
    assert model.unknown == ()
    return our_answers(model, given_to(PUBLISHED[name], model.config), release=True)


@torch.no_grad()
def theirs(name: str, path: Path) -> dict[str, Tensor]:
    """Their answers, one part in memory at a time."""
    known = PUBLISHED[name]
    given = given_to(known, read_checkpoint(path).config)
    texts = {part: text_class(part).from_pretrained(path / part, dtype=torch.float32) for part in known.texts}
    answers = text_answers(texts, given["ids"])
    del texts
    gc.collect()
    unet = UNet2DConditionModel.from_pretrained(path / "unet", torch_dtype=torch.float32)
    answers["unet"] = unet_answer(unet, answers, given)
    del unet
    gc.collect()
    vae = AutoencoderKL.from_pretrained(path / "vae", torch_dtype=torch.float32)
    return answers | vae_answers(vae, given)


def main(action: str, name: str, *paths: str) -> None:
    """Do one of the three."""
    if action == "write":
        write(name, Path(paths[0]))
        return
    answers = (ours if action == "ours" else theirs)(name, Path(paths[0]))
    save_file({key: one.contiguous() for key, one in answers.items()}, Path(paths[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
