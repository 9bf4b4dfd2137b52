"""The published checkpoints that are known here: their architecture as diffusers' configs state it, and the names and
shapes of their tensors, in both layouts.

The configs are those of the repositories named; of each, what makes the architecture. The lists of tensors lie under
`tests/data/published`, one file per part and layout: a line is a name and a shape. They are written by

    python -m tests.published

from our own modules (ldm's names) and from diffusers' and transformers' classes (theirs), and
`tests/checkpoints/test_published.py` holds them against both, and against diffusers' conversion of one into the other.
MiDaS' names of the depth estimator are those of `tests.midas`. Not listed: the exponential averages of full files.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from webui.nn.config import (
    SD15,
    SD21,
    SD21_BASE,
    SDXL,
    SDXL_REFINER,
    X4_UPSCALER,
    ModelConfig,
    with_extra,
)  # fmt: skip
from webui.nn.depth_config import DepthConfig

DATA = Path(__file__).parent / "data" / "published"
Shapes = dict[str, tuple[int, ...]]
Config = dict[str, Any]

_UNET: Config = {"out_channels": 4, "layers_per_block": 2, "norm_num_groups": 32}
_DOWN, _UP = "DownBlock2D", "UpBlock2D"
_CROSS_DOWN, _CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
_FOUR: Config = {
    **_UNET, "block_out_channels": [320, 640, 1280, 1280], "down_block_types": [*[_CROSS_DOWN] * 3, _DOWN],
    "up_block_types": [_UP, *[_CROSS_UP] * 3],
}  # fmt: skip
_SD1: Config = {**_FOUR, "sample_size": 64, "in_channels": 4, "attention_head_dim": 8, "cross_attention_dim": 768}
_SD2: Config = {
    **_FOUR, "sample_size": 96, "in_channels": 4, "attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024,
    "use_linear_projection": True,
}  # fmt: skip
_SDXL: Config = {
    **_UNET, "sample_size": 128, "in_channels": 4, "block_out_channels": [320, 640, 1280],
    "down_block_types": [_DOWN, _CROSS_DOWN, _CROSS_DOWN], "up_block_types": [_CROSS_UP, _CROSS_UP, _UP],
    "attention_head_dim": [5, 10, 20], "transformer_layers_per_block": [1, 2, 10], "cross_attention_dim": 2048,
    "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
_REFINER: Config = {
    **_SDXL, "block_out_channels": [384, 768, 1536, 1536], "down_block_types": [_DOWN, _CROSS_DOWN, _CROSS_DOWN, _DOWN],
    "up_block_types": [_UP, _CROSS_UP, _CROSS_UP, _UP], "attention_head_dim": [6, 12, 24, 24],
    "transformer_layers_per_block": 4, "cross_attention_dim": 1280, "projection_class_embeddings_input_dim": 2560,
}  # fmt: skip
_X4: Config = {
    **_UNET, "sample_size": 128, "in_channels": 7, "block_out_channels": [256, 512, 512, 1024],
    "down_block_types": [_DOWN, *[_CROSS_DOWN] * 3], "up_block_types": [*[_CROSS_UP] * 3, _UP],
    "attention_head_dim": 8, "cross_attention_dim": 1024, "use_linear_projection": True, "num_class_embeds": 1000,
    "only_cross_attention": [True, True, True, False],
}  # fmt: skip


def _vae(widths: list[int], scale: float) -> Config:
    return {
        "block_out_channels": widths, "down_block_types": ["DownEncoderBlock2D"] * len(widths), "latent_channels": 4,
        "up_block_types": ["UpDecoderBlock2D"] * len(widths), "layers_per_block": 2, "norm_num_groups": 32,
        "scaling_factor": scale,
    }  # fmt: skip


_F8, _F4 = [128, 256, 512, 512], [128, 256, 512]
_CLIP_L: Config = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "quick_gelu", "projection_dim": 768,
}  # fmt: skip
_CLIP_H: Config = {
    "hidden_size": 1024, "num_hidden_layers": 23, "num_attention_heads": 16, "intermediate_size": 4096,
    "hidden_act": "gelu", "projection_dim": 512,
}  # fmt: skip
_CLIP_BIGG: Config = {
    "hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 20, "intermediate_size": 5120,
    "hidden_act": "gelu", "projection_dim": 1280,
}  # fmt: skip
_ONE_L, _ONE_H = {"text_encoder": _CLIP_L}, {"text_encoder": _CLIP_H}
_XL_TEXTS = {"text_encoder": _CLIP_L, "text_encoder_2": _CLIP_BIGG}


_MIDAS: Config = {
    "is_hybrid": True, "image_size": 384, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "reassemble_factors": [1, 1, 1, 0.5], "neck_hidden_sizes": [256, 512, 768, 768],
    "fusion_hidden_size": 256,
}  # fmt: skip


def _scheduler(prediction: str = "epsilon", start: float = 0.00085, end: float = 0.012) -> Config:
    return {
        "_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear", "beta_start": start, "beta_end": end,
        "num_train_timesteps": 1000, "prediction_type": prediction,
    }  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A checkpoint. lists: its parts' lists of tensors, by part. texts: the configs of its text encoders, by folder.

    prefixes: where an ldm file keeps the text encoders. config: what is to be detected in the ldm file. depth: the
    config of its depth estimator, if any.
    """

    pipeline: str
    config: ModelConfig
    unet: Config
    vae: Config
    texts: Mapping[str, Config]
    scheduler: Config
    prefixes: tuple[str, ...]
    lists: tuple[str, ...]
    depth: Config = field(default_factory=dict)

    @property
    def folder_config(self) -> ModelConfig:
        """What is to be detected in the folder: SD 2.x's text encoder comes without its last layer, which is not read.

        A single-file layout says nothing of the prediction of an SD 2.x model, a folder does.
        """
        texts = [
            replace(text, absent=text.layers - self.texts[folder]["num_hidden_layers"])
            for folder, text in zip(self.texts, self.config.texts, strict=True)
        ]
        return replace(self.config, texts=tuple(texts))


_TRANSFORMERS = ("cond_stage_model.transformer.",)
_OPENCLIP = ("cond_stage_model.model.",)
_SGM = ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model.")
_SGM_REFINER = ("conditioner.embedders.0.model.",)
_V = _scheduler("v_prediction")
_SD_VAE, _XL_VAE = _vae(_F8, 0.18215), _vae(_F8, 0.13025)
_TEXT_LISTS = {_TRANSFORMERS: ("clip-l",), _OPENCLIP: ("clip-h",), _SGM: ("clip-l", "clip-bigg")}


def _sd1(pipeline: str, config: ModelConfig, channels: int) -> Published:
    unet = {**_SD1, "in_channels": channels}
    return Published(
        f"StableDiffusion{pipeline}Pipeline", config, unet, _SD_VAE, _ONE_L, _scheduler(), _TRANSFORMERS,
        ("unet-sd1", "vae-f8", "clip-l"),
    )  # fmt: skip


def _sd2(pipeline: str, config: ModelConfig, channels: int, scheduler: Config, size: int = 64) -> Published:
    unet = {**_SD2, "in_channels": channels, "sample_size": size}
    return Published(
        f"StableDiffusion{pipeline}Pipeline", config, unet, _SD_VAE, _ONE_H, scheduler, _OPENCLIP,
        ("unet-sd2", "vae-f8", "clip-h"),
    )  # fmt: skip


def _sdxl(pipeline: str, config: ModelConfig, channels: int) -> Published:
    unet = {**_SDXL, "in_channels": channels}
    return Published(
        f"StableDiffusionXL{pipeline}Pipeline", config, unet, _XL_VAE, _XL_TEXTS, _scheduler(), _SGM,
        ("unet-sdxl", "vae-f8", "clip-l", "clip-bigg"),
    )  # fmt: skip


PUBLISHED: Mapping[str, Published] = {
    # stable-diffusion-v1-5/stable-diffusion-v1-5
    "sd15": _sd1("", SD15, 4),
    # stable-diffusion-v1-5/stable-diffusion-inpainting
    "sd15-inpaint": _sd1("Inpaint", with_extra(SD15, "inpaint"), 9),
    # timbrooks/instruct-pix2pix
    "ip2p": _sd1("InstructPix2Pix", with_extra(SD15, "edit"), 8),
    # stabilityai/stable-diffusion-2-1
    "sd21": _sd2("", SD21, 4, _V, 96),
    # stabilityai/stable-diffusion-2-inpainting
    "sd2-inpaint": _sd2("Inpaint", with_extra(SD21_BASE, "inpaint"), 9, _scheduler()),
    # stabilityai/stable-diffusion-2-depth, whose U-Net's config names a sample size of 32
    "sd2-depth": replace(
        _sd2("Depth2Img", replace(with_extra(SD21_BASE, "depth"), depth=DepthConfig()), 5, _scheduler(), 32),
        depth=_MIDAS,
    ),
    # stabilityai/stable-diffusion-x4-upscaler
    "x4": Published(
        "StableDiffusionUpscalePipeline", X4_UPSCALER, _X4, _vae(_F4, 0.08333), _ONE_H,
        _scheduler("v_prediction", 0.0001, 0.02), _OPENCLIP, ("unet-x4", "vae-f4", "clip-h"),
    ),
    # stabilityai/stable-diffusion-xl-base-1.0
    "sdxl": _sdxl("", SDXL, 4),
    # diffusers/stable-diffusion-xl-1.0-inpainting-0.1
    "sdxl-inpaint": _sdxl("Inpaint", with_extra(SDXL, "inpaint"), 9),
    # stabilityai/stable-diffusion-xl-refiner-1.0
    "sdxl-refiner": Published(
        "StableDiffusionXLImg2ImgPipeline", SDXL_REFINER, _REFINER, _XL_VAE, {"text_encoder_2": _CLIP_BIGG},
        _scheduler(), _SGM_REFINER, ("unet-refiner", "vae-f8", "clip-bigg"),
    ),
}  # fmt: skip


BUFFERS = (
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
    "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
)  # fmt: skip
"""The noise schedule, which ldm's files hold beside the weights."""


def ldm_shapes(name: str) -> Shapes:
    """All tensors of the ldm single file of a model."""
    known = PUBLISHED[name]
    unet, vae, *texts = (read_list(part, "ldm") for part in known.lists)
    unet["input_blocks.0.0.weight"] = _first(unet["input_blocks.0.0.weight"], known)
    shapes = {f"model.diffusion_model.{key}": shape for key, shape in unet.items()}
    shapes |= {f"first_stage_model.{key}": shape for key, shape in vae.items()}
    for prefix, text in zip(known.prefixes, texts, strict=True):
        shapes |= {prefix + key: shape for key, shape in text.items()}
    if known.depth:
        shapes |= {f"depth_model.model.{key}": shape for key, shape in read_list("midas", "ldm").items()}
    if known.prefixes in (_SGM, _SGM_REFINER):
        return shapes
    shapes |= dict.fromkeys(BUFFERS, (1000,)) | {"model_ema.decay": (), "model_ema.num_updates": ()}
    return shapes | ({f"low_scale_model.{key}": (1000,) for key in BUFFERS} if name == "x4" else {})


def folder_shapes(name: str) -> dict[str, Shapes]:
    """The tensors of each part of the diffusers folder of a model, by the part's folder."""
    known = PUBLISHED[name]
    unet, vae, *texts = (read_list(part, "diffusers") for part in known.lists)
    unet["conv_in.weight"] = _first(unet["conv_in.weight"], known)
    depth = {"depth_estimator": read_list("midas", "diffusers")} if known.depth else {}
    return {"unet": unet, "vae": vae, **dict(zip(known.texts, texts, strict=True)), **depth}


def read_list(part: str, layout: str) -> Shapes:
    """The names and shapes of a part."""
    lines = gzip.decompress((DATA / f"{part}.{layout}.txt.gz").read_bytes()).decode().splitlines()
    return {name: tuple(map(int, sides)) for name, *sides in map(str.split, lines)}


def _first(shape: tuple[int, ...], known: Published) -> tuple[int, ...]:
    return (shape[0], known.unet["in_channels"], *shape[2:])


def our_lists() -> dict[str, Shapes]:
    """ldm's names, as our modules have them; with what published files hold beside the weights of a text encoder."""
    import torch

    from tests.midas import midas_names
    from tests.support import openclip_names
    from webui.nn.depth import build_depth
    from webui.nn.text import build_text
    from webui.nn.unet import UNet
    from webui.nn.vae import VAE

    with torch.device("meta"):
        lists = {
            "unet-sd1": UNet(SD15.unet), "unet-sd2": UNet(SD21.unet), "unet-sdxl": UNet(SDXL.unet),
            "unet-refiner": UNet(SDXL_REFINER.unet), "unet-x4": UNet(X4_UPSCALER.unet), "vae-f8": VAE(SD15.vae),
            "vae-f4": VAE(X4_UPSCALER.vae),
        }  # fmt: skip
        found = {part: _shapes(module.state_dict()) for part, module in lists.items()}
        found["midas"] = _shapes(midas_names(build_depth(DepthConfig()).state_dict()))
        clip_l, clip_h, bigg = (build_text(text).state_dict() for text in (*SD15.texts, *SD21.texts, SDXL.texts[1]))
    found["clip-l"] = {**_shapes(clip_l), "text_model.embeddings.position_ids": (1, 77)}
    found["clip-h"] = {**_shapes(openclip_names(clip_h)), "text_projection": (1024, 1024), "logit_scale": ()}
    found["clip-bigg"] = {**_shapes(openclip_names(bigg)), "logit_scale": ()}
    return found


def their_lists() -> dict[str, Shapes]:
    """diffusers' and transformers' names, as their classes have them for the published configs."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, DPTConfig, DPTForDepthEstimation

    unets = {"unet-sd1": _SD1, "unet-sd2": _SD2, "unet-sdxl": _SDXL, "unet-refiner": _REFINER, "unet-x4": _X4}
    texts = {"clip-l": _CLIP_L, "clip-h": _CLIP_H, "clip-bigg": _CLIP_BIGG}
    with torch.device("meta"):
        modules = {part: UNet2DConditionModel(**config) for part, config in unets.items()}
        modules |= {"vae-f8": AutoencoderKL(**_SD_VAE), "vae-f4": AutoencoderKL(**_vae(_F4, 0.08333))}
        modules |= {part: CLIPTextModelWithProjection(CLIPTextConfig(**config)) for part, config in texts.items()}
        modules["midas"] = DPTForDepthEstimation(DPTConfig(**_MIDAS))
    found = {part: _shapes(module.state_dict()) for part, module in modules.items()}
    for part in ("clip-l", "clip-h"):  # published without the projection, which Stable Diffusion does not read
        del found[part]["text_projection.weight"]
    for part in texts:
        found[part]["text_model.embeddings.position_ids"] = (1, 77)
    return found


def _shapes(state: Mapping[str, Any]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def main() -> None:
    """Write the lists."""
    DATA.mkdir(parents=True, exist_ok=True)
    for layout, lists in (("ldm", our_lists()), ("diffusers", their_lists())):
        for part, shapes in lists.items():
            lines = [" ".join(map(str, (name, *shape))) for name, shape in sorted(shapes.items())]
            packed = gzip.compress("\n".join(lines).encode(), mtime=0)
            (DATA / f"{part}.{layout}.txt.gz").write_bytes(packed)


if __name__ == "__main__":
    main()
