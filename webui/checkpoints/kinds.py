"""What a model file is, told by the names and shapes of its tensors, and where it belongs. Nothing of it is loaded.

This is the guess at files that lie in the wrong folder, or that nothing here draws with. A file that is what its folder
is for is known by that folder's own module (`detect`, `control`, `webui.networks`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webui.checkpoints.header import Header
from webui.checkpoints.layouts import UNET
from webui.checkpoints.parts import LATENTS, Parts, parts_of
from webui.schema.errors import ModelError

Names = Mapping[str, Any]
CHECKPOINTS, VAES, NETWORKS = "models/Stable-diffusion", "models/VAE", "models/Lora"
CONTROLS, EMBEDDINGS, HYPERNETWORKS = "models/ControlNet", "models/embeddings", "models/hypernetworks"
TINY, TEXTS, UPSCALERS = "models/VAE-approx", "models/text_encoder", "models/ESRGAN"
CHECKPOINT = "Put a Stable Diffusion 1.x, 2.x or SDXL checkpoint here."
COMPLETE = "Get the complete checkpoint, with U-Net, VAE and text encoder in one file."
NAMED = 3
"""Tensors that an error names before it says "and n more"."""
_OTHER = "It may be cut off or of a new kind: download it again, or use another one."
_SUPPORTED = "Use a checkpoint of Stable Diffusion 1.x, 2.x or SDXL."


@dataclass(frozen=True)
class Kind:
    """What a file is ("a LoRA"), the folder it belongs into, as the user knows it, and what else there is to do."""

    what: str
    folder: str = ""
    more: str = ""

    @property
    def cure(self) -> str:
        return " ".join(filter(None, (self.folder and f"Put it into {self.folder}.", self.more)))


def check_kind(header: Header) -> None:
    """Let Stable Diffusion checkpoints pass.

    Raises:
        ModelError: with what the file looks like instead, and where that belongs, or with the parts that it lacks.
    """
    if f"{UNET}input_blocks.0.0.weight" not in header.tensors:
        raise wrong_kind(header, "checkpoint", CHECKPOINTS, CHECKPOINT, f"No tensor begins with {UNET!r}. ")
    special = _first(_SPECIAL, header.tensors)
    if special is not None:
        raise ModelError(f"This is {special.what}.", special.cure)
    parts = parts_of(header)
    if parts.missing:
        raise ModelError(f"The checkpoint lacks {_and(parts.missing)}.", _joining(parts))


def wrong_kind(header: Header, wanted: str, folder: str, cure: str, why: str = "") -> ModelError:
    """The error for a file that is not what its folder is for.

    wanted: what that is, as "LoRA"; folder: its name; cure, why: what to do with a file that nobody knows, and how that
    was told.
    """
    kind, held = kind_of_file(header), f"It holds {some(sorted(header.tensors))}."
    if kind is None:
        return ModelError(f"This is no {wanted} that is known here. {why}{held}", cure)
    if kind.folder == folder and not kind.more:
        return ModelError(f"This looks like {kind.what}, but not like one that is known here. {why}{held}", _OTHER)
    cure = kind.more if kind.folder == folder else kind.cure
    return ModelError(f"This is no {wanted}: it looks like {kind.what}.", cure)


def kind_of_file(header: Header) -> Kind | None:
    """What a file is; None where nothing known has tensors of such names."""
    names = header.tensors
    return _first(_KINDS, names) or _of_parts(parts_of(header)) or _first(_LOOSE, names)


def some(names: list[str]) -> str:
    """The first few of these names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _of_parts(parts: Parts) -> Kind | None:
    """What the parts of a model make that are in a file."""
    of = f" of {parts.family}" if parts.family else ""
    if parts.context is not None and not parts.missing:
        return Kind(f"a whole checkpoint{of}", CHECKPOINTS)
    if parts.context is not None:
        return Kind(f"a U-Net{of} without {_and(parts.missing)}", CHECKPOINTS, _joining(parts))
    if parts.latents not in (None, 0, LATENTS):
        channels = f"a VAE whose latents have {parts.latents} channels, as those of Flux and Stable Diffusion 3"
        return Kind(channels, more="Use a VAE of Stable Diffusion 1.x, 2.x or SDXL.")
    if parts.latents is not None:
        return Kind("a VAE alone", VAES)
    if parts.texts:
        beside = "It is of use to a U-Net alone, whose JSON file names it (docs/models.md)."
        return Kind(f"a text encoder alone ({_and(parts.texts)})", TEXTS, beside)
    return None


def _joining(parts: Parts) -> str:
    """How a U-Net becomes a model together with files that hold what it lacks."""
    vae = ['"vae": "../VAE/FILE.safetensors"'] if parts.latents is None else []
    files = ", ".join(['"../text_encoder/FILE.safetensors"'] * len(parts.wanted))
    said = ", ".join([*vae, *([f'"texts": [{files}]'] if parts.missing_texts else [])])
    return f'{COMPLETE} Or name the other parts in a JSON file of its name beside it: {{"atelier.parts": {{{said}}}}}.'


def _and(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), *words[-1:]])


def _has(*parts: str) -> Callable[[Names], bool]:
    """Whether some tensor's name has one of the parts in it."""
    return lambda names: any(part in name for name in names for part in parts)


def _begins(*starts: str) -> Callable[[Names], bool]:
    """Whether some tensor's name begins in one of these ways."""
    return lambda names: any(name.startswith(starts) for name in names)


def _ends(*ends: str) -> Callable[[Names], bool]:
    """Whether some tensor's name ends in one of these ways."""
    return lambda names: any(name.endswith(ends) for name in names)


def _all_match(pattern: str) -> Callable[[Names], bool]:
    """Whether the pattern is that of every name."""
    known = re.compile(pattern)
    return lambda names: bool(names) and all(known.fullmatch(name) for name in names)


Row = tuple[Callable[[Names], bool], Kind]
"""How to tell a kind of file, and what it is."""


def _first(rows: Sequence[Row], names: Names) -> Kind | None:
    return next((kind for found, kind in rows if found(names)), None)


def _foreign(what: str, *marks: str) -> Row:
    """A model of a family that nothing here draws with."""
    return _has(*marks), Kind(f"a model of {what}, which is not supported", more=_SUPPORTED)


_MOTION: Row = (
    _has("motion_modules."),
    Kind("a model for video (a motion module, or a LoRA for one), which is not supported", more="Take it away."),
)
_SPECIAL: tuple[Row, ...] = (
    (_has(".absmax", ".quant_state.", ".quant_map"),
     Kind("a checkpoint quantised by bitsandbytes, which is not supported",
          more="Use the same model in fp16, bf16 or fp8.")),
    (lambda names: f"{UNET}time_embed.cond_proj.weight" in names,
     Kind("an LCM that is told the guidance scale, which is not supported",
          more="Use the LCM LoRA with an ordinary checkpoint, or a checkpoint that it is merged into.")),
    (lambda names: "edm_mean" in names or "edm_vpred.sigma_max" in names,
     Kind("a model trained with EDM's noise levels (Playground 2.5, CosXL), which is not supported",
          more="Use an ordinary SDXL checkpoint.")),
    (_has(".time_stack."), Kind("Stable Video Diffusion, which is not supported", more=_SUPPORTED)),
    _MOTION,
)  # fmt: skip
"""Checkpoints that want what is not there."""

_KINDS: tuple[Row, ...] = (
    (lambda names: not names, Kind("a file without any tensor", more="Download it again.")),
    _MOTION,
    (_begins("lllite"), Kind("a ControlLLLite, which is not supported", more="Use a ControlNet of the same kind.")),
    (_begins("ip_adapter.", "image_proj."), Kind("an IP-Adapter", CONTROLS)),
    (lambda names: "lora_controlnet" in names, Kind("a Control-LoRA", CONTROLS)),
    (_has("controlnet_x_embedder", "controlnet_blocks."),
     Kind("a ControlNet for Flux or Stable Diffusion 3", more="Use one for Stable Diffusion 1.x, 2.x or SDXL.")),
    (_has("control_model.", "controlnet_cond_embedding", "input_hint_block", "zero_convs."),
     Kind("a ControlNet", CONTROLS)),
    (_has("hada_w1", "lokr_w1", "oft_blocks", "oft_R", "boft_R", "oft_diag", ".on_input", "ia3_l"),
     Kind("a LyCORIS network", NETWORKS)),
    (_has("lora_up", "lora_down", "lora.up.", "lora.down.", "lora_A.", "lora_B.", "dora_scale"),
     Kind("a LoRA", NETWORKS)),
    (_ends(".diff", ".diff_b", ".w_norm"), Kind("a network of full differences", NETWORKS)),
    (_has("adapter.body.", "body.0.block1.", "body.0.in_conv."), Kind("a T2I-Adapter", CONTROLS)),
    _foreign("Chroma", "distilled_guidance_layer."),
    _foreign("Hunyuan Video", "individual_token_refiner."),
    _foreign("Flux", "double_blocks.", "single_transformer_blocks."),
    _foreign("Stable Diffusion 3", "joint_blocks.", ".norm1_context."),
    _foreign("Stable Cascade", "clip_txt_mapper."),
    _foreign("PixArt or LTX", "adaln_single."),
    _foreign("AuraFlow", "double_layers."),
    _foreign("Lumina or Z-Image", "noise_refiner."),
    _foreign("Hunyuan-DiT", "mlp_t5."),
    _foreign("Qwen-Image", "transformer_blocks.0.img_mlp."),
    _foreign("Wan", "blocks.0.cross_attn.k."),
    _foreign("Kolors or Kandinsky", "encoder_hid_proj."),
    (_has("SelfAttention.q.weight"), Kind("a T5 text encoder, which only newer families read", more=_SUPPORTED)),
    (lambda names: "emb_params" in names or "string_to_param.*" in names or names.keys() <= {"clip_l", "clip_g"},
     Kind("a textual inversion embedding", EMBEDDINGS)),
    (_all_match(r"(?:(?:en|de)coder\.layers|taesd_\w+)\..*"), Kind("a tiny autoencoder for previews", TINY)),
    (_all_match(r"\d+\.(?:conv\.\d+\.|skip\.)?(?:weight|bias)"), Kind("a tiny autoencoder for previews", TINY)),
    (_all_match(r"hypernet.*|\d{3,4}\.[kv01]\.linear.*|linear[12]\..*"), Kind("a hypernetwork", HYPERNETWORKS)),
    (lambda names: _begins("vision_model.")(names) and not _begins("text_model.")(names),
     Kind("a CLIP vision encoder", "models/clip_vision")),
)  # fmt: skip
"""How to tell other files, and what they are: those with a name that nothing else has."""

_AGAIN = "Download it again."
_LOOSE: tuple[Row, ...] = (
    (_has("stylegan_decoder.", "fuse_convs_dict."), Kind("a face restorer", "models/GFPGAN")),
    (_has(".attn.in_proj_weight", "text_projection", "layer_norm1.", "token_embedding."),
     Kind("a text encoder that is not whole", TEXTS, _AGAIN)),
    (_has("RDB1.", "rdb1.", "RRDB_trunk", "residual_group.", "conv_body.", "upconv1", "upsampler."),
     Kind("an upscaler", UPSCALERS)),
    (_all_match(r"body\.\d+\.(?:weight|bias)"), Kind("an upscaler", UPSCALERS)),
    (_has("encoder.conv_in.", "decoder.conv_in.", "first_stage_model."), Kind("a VAE that is not whole", VAES, _AGAIN)),
    (_has("input_blocks.", "output_blocks.", "down_blocks.", "up_blocks."),
     Kind("a U-Net that is not whole", CHECKPOINTS, _AGAIN)),
)  # fmt: skip
"""The same for names that several kinds have: asked last."""
