"""A diffusers folder: `model_index.json`, and a folder for each part with its `config.json` and its weights.

The weights of a part are one safetensors file or several with an index, and there may be variants of lower precision
(`diffusion_pytorch_model.fp16.safetensors`): the plain ones go first. Every file named by an index lies in its folder.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from webui.checkpoints.header import PICKLES
from webui.checkpoints.plain_json import object_in
from webui.checkpoints.trees import shown_path
from webui.schema.errors import ModelError

INDEX = "model_index.json"
UNET_FOLDER, VAE_FOLDER, TEXT_FOLDERS = "unet", "vae", ("text_encoder", "text_encoder_2")
DEPTH_FOLDER = "depth_estimator"
PARTS = (UNET_FOLDER, VAE_FOLDER, *TEXT_FOLDERS, DEPTH_FOLDER, "scheduler")
STEMS = ("diffusion_pytorch_model", "model")
SMALLEST = 512
VARIANTS = ("", "fp16", "bf16")
"""The best first; those not named here come last."""
_WEIGHTS = re.compile(
    rf"(?:{'|'.join(STEMS)})(?:\.(?P<before>\w+))?\.safetensors(?P<index>\.index(?:\.(?P<after>\w+))?\.json)?"
)


def is_model_folder(path: Path) -> bool:
    """Whether a folder is a model in diffusers' layout."""
    return (path / INDEX).is_file()


def folder_json(path: Path, *parts: str) -> dict[str, Any]:
    """A JSON object of the folder; empty where there is none."""
    return object_in(path.joinpath(*parts))


def weight_files(part: Path) -> tuple[Path, ...]:
    """The safetensors files with the weights of a part, all of one variant; none where the folder is not there.

    Raises:
        ModelError: only pickles lie there, nothing at all, or files that the index names are missing.
    """
    if not part.is_dir():
        return ()
    found = [hit for name in sorted(path.name for path in part.iterdir()) if (hit := _WEIGHTS.fullmatch(name))]
    if not found:
        raise _no_weights(part)
    best = min(found, key=_rank)
    if not best["index"]:
        return (part / best[0],)
    return _indexed(part, part / best[0])


def _rank(hit: re.Match[str]) -> tuple[int, int, str]:
    variant = hit["before"] or hit["after"] or ""
    return (VARIANTS.index(variant) if variant in VARIANTS else len(VARIANTS), bool(hit["index"]), variant)


def _indexed(part: Path, index: Path) -> tuple[Path, ...]:
    names = folder_json(index).get("weight_map")
    files = sorted({str(file) for file in names.values()}) if isinstance(names, Mapping) else []
    if not files:
        raise ModelError(f"{index.name} names no files.", "Download it again.")
    for file in files:
        if Path(file).name != file:
            raise ModelError(f"{index.name} names a file outside its folder: {file}.", "Do not use this model.")
        if not (part / file).is_file():
            raise ModelError(f"{part.name}/{file} is missing.", "Download the rest of the model.")
    return tuple(part / file for file in files)


def _no_weights(part: Path) -> ModelError:
    pickles = [path for path in sorted(part.iterdir()) if path.suffix in PICKLES]
    if pickles:
        return ModelError(
            f"{part.name} holds pickles alone, which could run foreign code; they were not opened.",
            f"Convert {pickles[0].name}: python3 launch.py models convert {shlex.quote(shown_path(pickles[0]))}",
        )
    return ModelError(f"{part.name} holds no weights.", "Download the rest of the model.")


def folder_facts(path: Path, texts: Sequence[Path] = ()) -> dict[str, Any]:
    """What the JSON files of a folder say of its architecture, in the form of `ModelConfig.to_json`.

    texts: the folders of its text encoders.
    """
    unet, vae = folder_json(path, UNET_FOLDER, "config.json"), folder_json(path, VAE_FOLDER, "config.json")
    told = [_text_facts(folder_json(part, "config.json")) for part in texts]
    facts = {"unet": _unet_facts(unet), "vae": _vae_facts(vae), "texts": told, **_scheduler_facts(path)}
    size, levels = unet.get("sample_size"), vae.get("block_out_channels")
    pixels = size * 2 ** (len(levels) - 1) if isinstance(size, int) and isinstance(levels, list) else 0
    # some published configs name less than any of them was trained on
    return {**facts, "native_size": pixels} if pixels >= SMALLEST else facts


def _text_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    activation = str(config.get("hidden_act"))
    facts = {
        "heads": config.get("num_attention_heads"),
        "activation": activation if activation in ("gelu", "quick_gelu") else None,
    }
    return {key: value for key, value in facts.items() if value is not None}


def _unet_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    facts = {"norm_groups": config.get("norm_num_groups"), **_heads(config)}
    cross_only = config.get("only_cross_attention")
    if isinstance(cross_only, list) and any(cross_only):
        facts["cross_only"] = cross_only
    return {key: value for key, value in facts.items() if value is not None or key in ("num_heads", "head_dim")}


def _heads(config: Mapping[str, Any]) -> dict[str, Any]:
    """Heads of the U-Net. Its config names them `attention_head_dim` and means their number, by level or of all."""
    heads = config.get("num_attention_heads") or config.get("attention_head_dim")
    widths = config.get("block_out_channels")
    if isinstance(heads, int):
        return {"num_heads": heads, "head_dim": None}
    if not isinstance(heads, list) or not isinstance(widths, list) or not heads:
        return {}
    sizes = {width // number for width, number in zip(widths, heads, strict=False)}
    if len(sizes) == 1:
        return {"num_heads": None, "head_dim": sizes.pop()}
    return {"num_heads": heads[0], "head_dim": None}


def _vae_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    if config.get("latents_mean"):
        raise ModelError("This model scales each channel of its latents, as Playground 2.5 does.", "Use another model.")
    known = {"scale_factor": "scaling_factor", "shift": "shift_factor", "norm_groups": "norm_num_groups"}
    return {ours: config[theirs] for ours, theirs in known.items() if config.get(theirs) is not None}


def _scheduler_facts(path: Path) -> dict[str, Any]:
    config = folder_json(path, "scheduler", "scheduler_config.json")
    known = {
        "kind": "beta_schedule",
        "beta_start": "beta_start",
        "beta_end": "beta_end",
        "steps": "num_train_timesteps",
    }
    schedule = {ours: config[theirs] for ours, theirs in known.items() if config.get(theirs) is not None}
    if config.get("rescale_betas_zero_snr"):
        schedule["zero_terminal_snr"] = True
    prediction = {"epsilon": "epsilon", "v_prediction": "v", "sample": "sample"}.get(str(config.get("prediction_type")))
    return {"schedule": schedule, **({"prediction": prediction} if prediction else {})}


def folder_tokenizer(path: Path) -> dict[str, Any] | None:
    """The tokenizer of a folder, in the form of a checkpoint's header; None where it has none."""
    vocab = folder_json(path, "tokenizer", "vocab.json")
    try:
        merges = (path / "tokenizer" / "merges.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    pairs = [line for line in merges if line.strip() and not line.startswith("#version")]
    return {"vocab": vocab, "merges": pairs} if vocab else None
