"""How the programs lay out their folders of models: this one and A1111, Forge and SD.Next alike, and ComfyUI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, get_args

Kind = Literal[
    "checkpoint", "vae", "vae_approx", "lora", "embedding", "hypernetwork", "controlnet", "upscaler", "text_encoder",
    "preprocessor",
]  # fmt: skip
"""What a folder holds. vae_approx: tiny autoencoders for previews; preprocessor: what makes maps of pictures."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

Layout = Mapping[Kind, tuple[str, ...]]
"""Kind -> folders below the folder of models, the first the one that new files are put into."""

OWN: Final[Layout] = {
    "checkpoint": ("Stable-diffusion",),
    "vae": ("VAE",),
    "vae_approx": ("VAE-approx", "VAE-taesd", "vae_approx"),
    "lora": ("Lora", "LyCORIS"),
    "embedding": ("embeddings",),
    "hypernetwork": ("hypernetworks",),
    "controlnet": ("ControlNet", "T2I-Adapter", "IP-Adapter"),
    "upscaler": ("ESRGAN", "RealESRGAN", "DAT", "SwinIR", "ScuNET", "LDSR"),
    "text_encoder": ("text_encoder",),
    "preprocessor": ("ControlNetPreprocessor",),
}
"""Of this program, and of A1111 and Forge; tiny autoencoders are looked for where ComfyUI has them, too."""

COMFY: Final[Layout] = {
    "checkpoint": ("checkpoints", "diffusion_models", "unet"),
    "vae": ("vae",),
    "vae_approx": ("vae_approx",),
    "lora": ("loras",),
    "embedding": ("embeddings",),
    "hypernetwork": ("hypernetworks",),
    "controlnet": ("controlnet", "t2i_adapter", "ipadapter"),
    "upscaler": ("upscale_models",),
    "text_encoder": ("text_encoders", "clip"),
}
"""Of ComfyUI; also the names of these folders in its `extra_model_paths.yaml`."""

BESIDE_MODELS: Final[Layout] = {
    "embedding": ("embeddings",),
    "controlnet": ("extensions/sd-webui-controlnet/models",),
    "lora": ("extensions/sd-webui-additional-networks/models/lora",),
}
"""Of A1111 and Forge, in the root of an installation."""

_MODELS = "models"
_FOLDERS = frozenset(folder for layout in (OWN, COMFY, BESIDE_MODELS) for some in layout.values() for folder in some)


def shown_home(kind: Kind) -> str:
    """The folder that new files of a kind are put into, as users know it: where the server has it is nobody's
    business."""
    return f"{_MODELS}/{OWN[kind][0]}"


def shown_path(path: Path) -> str:
    """A file or folder as users know it, from the folder of its kind on: "models/Lora/ink.pt"."""
    parts = path.parts
    starts = [index for index, part in enumerate(parts) if part in _FOLDERS]
    in_models = [index for index in starts if parts[index - 1] == _MODELS]  # the others may be a person's own folders
    return Path(_MODELS, *parts[(in_models[-1:] or starts)[0] :]).as_posix() if starts else path.name
