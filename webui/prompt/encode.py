"""Prompts -> what conditions the U-Net."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from webui.diffusion.denoiser import Cond
from webui.nn.blocks import timestep_embedding
from webui.nn.config import ModelConfig
from webui.nn.text import TextEncoder
from webui.prompt.tokenize import Chunk, Tokenizer
from webui.prompt.words import NO_WORDS, WordIndex
from webui.schema.errors import BadRequest
from webui.schema.names import Emphasis

NO_VECTORS: Mapping[str, Tensor] = MappingProxyType({})
SIZE_CHANNELS = 256
"""Width of the sinusoids that tell SDXL each of six sizes."""
GOOD_SCORE, BAD_SCORE = 6.0, 2.5
"""The aesthetic scores, 1 to 10, that SDXL's refiner is told for a prompt and for its negative, as in Stability's
generative-models (scripts/demo/sampling.py)."""


class TextModel(Protocol):
    """A loaded checkpoint, as far as prompts go: a tokenizer for each text encoder."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def texts(self) -> Sequence[TextEncoder]: ...

    @property
    def tokenizers(self) -> Sequence[Tokenizer]: ...


class Words(Protocol):
    """Words that stand for vectors. indices: as the tokenizer of each text encoder reads them."""

    @property
    def indices(self) -> Sequence[WordIndex]: ...

    def vectors(self, name: str) -> Sequence[Tensor]:
        """Those of a word for each text encoder, (n d)."""


def encode_pair(
    model: TextModel,
    prompt: str,
    negative_prompt: str,
    clip_skip: int,
    width: int,
    height: int,
    emphasis: Emphasis = "Original",
) -> tuple[Cond, Cond]:
    """The conditioning of a prompt and of its negative, as `joined` makes them alike.

    clip_skip: 1 is the layer the model was trained on. width, height: of the picture in pixels, which SDXL is told.

    Raises:
        BadRequest: the text encoder has fewer layers than are to be skipped.
    """

    def encode(text: str) -> Cond:
        return encode_prompt(model, text, clip_skip, width, height, emphasis)

    (cond,), uncond = joined(model, encode, [prompt], negative_prompt)
    return cond, uncond


def joined(
    model: TextModel, encode: Callable[[str], Cond], prompts: Sequence[str], negative_prompt: str
) -> tuple[tuple[Cond, ...], Cond]:
    """The conditionings of prompts that act at once, and of their negative. All are of the length of the longest:
    the others end in empty chunks. encode: what makes one of a text."""
    conds = [encode(prompt) for prompt in prompts]
    conds.append(encode(negative_prompt))
    longest = max(len(cond.context) for cond in conds)
    if any(len(cond.context) < longest for cond in conds):
        empty = encode("").context
        conds = [_lengthened(cond, empty, longest) for cond in conds]
    *conds, uncond = conds
    if uncond.y is not None and _knows_score(model.config):
        uncond = _with_score(uncond, BAD_SCORE)
    elif uncond.y is not None and not negative_prompt.strip():
        uncond = _without_text(model, uncond)
    return tuple(conds), uncond


def encode_prompt(
    model: TextModel,
    prompt: str,
    clip_skip: int,
    width: int,
    height: int,
    emphasis: Emphasis = "Original",
    words: Words | None = None,
) -> Cond:
    """The conditioning of one prompt: context (n d), n a multiple of 77, d the widths of all text encoders together.

    words: those that stand for vectors of their own.

    Raises:
        BadRequest: the text encoder has fewer layers than are to be skipped.
    """

    def encode(number: int) -> tuple[Tensor, Tensor | None]:
        encoder, index = model.texts[number], NO_WORDS if words is None else words.indices[number]
        chunks = model.tokenizers[number].chunks(prompt, encoder.config.pad_id, emphasis, index)
        named = {name for chunk in chunks for _, name in chunk.words}
        vectors = {name: words.vectors(name)[number] for name in named} if words is not None else {}
        return encode_chunks(encoder, chunks, clip_skip, emphasis, vectors)

    encoded = [encode(number) for number in range(len(model.texts))]
    context = torch.cat([hidden for hidden, _ in encoded], dim=-1)  # (n d)
    pooled = next((pooled for _, pooled in encoded if pooled is not None), None)
    if pooled is None or model.config.unet.adm_channels is None:
        return Cond(context)
    told = [height, width, 0, 0, *([GOOD_SCORE] if _knows_score(model.config) else [height, width])]
    return Cond(context, torch.cat([pooled, _numbers(told, pooled)]))


def encode_chunks(
    encoder: TextEncoder,
    chunks: Sequence[Chunk],
    clip_skip: int,
    emphasis: Emphasis = "Original",
    vectors: Mapping[str, Tensor] = NO_VECTORS,
) -> tuple[Tensor, Tensor | None]:
    """Chunks of one prompt -> hidden (n d) of all chunks in a row, and the first chunk's pooled state (d,).

    vectors: (n d) of each word of the chunks that stands for vectors, in the place of token embeddings. A model that
    was trained on an earlier layer than the one asked for keeps to that layer.
    """
    if clip_skip > encoder.config.layers:
        raise BadRequest(
            f"Clip skip {clip_skip} is more than the {encoder.config.layers} layers of this model's text encoder.",
            f"Set clip skip to {encoder.config.layers} or less.",
        )
    device = next(encoder.parameters()).device
    ids = torch.tensor([chunk.ids for chunk in chunks], device=device)  # (b 77)
    embeddings = _embedded(encoder, ids, chunks, vectors) if vectors else None
    output = encoder(ids, max(clip_skip, encoder.default_skip), embeddings)
    hidden = [emphasise(row, chunk, emphasis) for row, chunk in zip(output.hidden, chunks, strict=True)]
    return torch.cat(hidden), None if output.pooled is None else output.pooled[0]


def emphasise(hidden: Tensor, chunk: Chunk, emphasis: Emphasis = "Original") -> Tensor:
    """hidden (77 d) times the tokens' weights, then all of it scaled so that its mean is what it was.

    These are the numbers of A1111's emphasis "Original", which every shared prompt is written for; "No norm" leaves the
    scaling out.
    """
    if not chunk.weighted:
        return hidden
    exact = hidden.float() if hidden.dtype in (torch.float16, torch.bfloat16) else hidden
    weighted = exact * torch.tensor(chunk.weights).to(exact)[:, None]
    if emphasis == "No norm":
        return weighted.to(hidden.dtype)
    scale = exact.mean() / weighted.mean()
    return (weighted * scale if torch.isfinite(scale) else weighted).to(hidden.dtype)


def _embedded(encoder: TextEncoder, ids: Tensor, chunks: Sequence[Chunk], vectors: Mapping[str, Tensor]) -> Tensor:
    """Token embeddings (b 77 d) of ids (b 77), with the vectors of words in their places."""
    embeddings = encoder.embed(ids).clone()
    for row, chunk in zip(embeddings, chunks, strict=True):
        for place, name in chunk.words:
            row[place : place + len(vectors[name])] = vectors[name].to(row)
    return embeddings


def _lengthened(cond: Cond, empty: Tensor, length: int) -> Cond:
    """context (n d) with chunks of the empty prompt (77 d) added up to `length` tokens."""
    missing = (length - len(cond.context)) // len(empty)
    return Cond(torch.cat([cond.context, *[empty] * missing]), cond.y)


def _without_text(model: TextModel, cond: Cond) -> Cond:
    """The conditioning SDXL was trained on for no text at all: zeros, beside the sizes."""
    assert cond.y is not None
    pooled = sum(text.projection or text.width for text in model.config.texts if text.pooled)
    y = cond.y.clone()
    y[:pooled] = 0
    return Cond(torch.zeros_like(cond.context), y)


def _knows_score(config: ModelConfig) -> bool:
    """Whether a model is told an aesthetic score in the place of the target size, as SDXL's refiner is."""
    pooled = sum(text.projection or text.width for text in config.texts if text.pooled)
    return config.unet.adm_channels == pooled + 5 * SIZE_CHANNELS


def _with_score(cond: Cond, score: float) -> Cond:
    """The conditioning with another aesthetic score, the last number in y (adm,)."""
    assert cond.y is not None
    return Cond(cond.context, torch.cat([cond.y[:-SIZE_CHANNELS], _numbers([score], cond.y)]))


def _numbers(told: Sequence[float], like: Tensor) -> Tensor:
    """What SDXL is told beside the text (arXiv:2307.01952, section 2.2): original size, crop corner, target size, each
    as sinusoids: (n * 256,)."""
    numbers = torch.tensor(told, device=like.device, dtype=torch.float32)
    return timestep_embedding(numbers, SIZE_CHANNELS, like.dtype).flatten()
