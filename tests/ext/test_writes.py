"""What an extension writes into what it received reaches nobody: no other picture, no other extension, no later job."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.ext.studio import PLAIN, Studio
from webui.schema.control import ControlUnit
from webui.schema.events import Done
from webui.schema.images import ImageRef
from webui.schema.requests import Inpaint, Txt2Img

GREY = """
import numpy as np
import torch
from webui.ext import ControlAdapter, Map, Match, Residuals

kept = np.full((1, 1, 3), 7, np.uint8)
seen = []

def grey(image, *, ctx):
    kept.resize(image.shape, refcheck=False)
    kept[:] = 150
    {make}
    return Map(kept, {{"joints": [5], "vector": np.ones(2)}})

class Light(ControlAdapter):
    \"\"\"The mean of the map and of its data, on the whole of the first hidden state.\"\"\"

    def __init__(self, channels): self.channels = channels

    @classmethod
    def probe(cls, header): return Match("Light") if "lit.weight" in header.tensors else None

    @classmethod
    def load(cls, weights, match, base, device): return cls(base.config.model_channels)

    def prepare(self, hint):
        light = float(hint.source.mean()) / 255 + sum(hint.data["joints"]) + float(hint.data["vector"].sum())
        light += float(hint.image.mean())
        {prepare}
        return [torch.tensor(light)]

    def residuals(self, call, prepared):
        hidden = {{0: prepared[0].clone().expand(1, self.channels, *call.x.shape[2:])}}
        {residuals}
        return Residuals(hidden=hidden)
"""
TABLES = """
[[control_adapter]]
id = "lit"
entry = "main:Light"

[[preprocessor]]
id = "grey"
entry = "main:grey"
resolution = false
"""
HINT_WRITES = {
    "source": {"prepare": "hint.source[...] = 0"},
    "data": {"prepare": "hint.data['joints'].append(9); hint.data['vector'][:] = 4"},
    "image": {"prepare": "hint.image.zero_()"},
    "prepared": {"residuals": "prepared[0].add_(1); prepared.clear()"},
    "call": {"residuals": "call.x.zero_(); call.context.zero_(); call.timesteps.zero_()"},
    "what the map was made in": {"make": "kept[:] = 150; seen.append(kept)", "residuals": "kept[:] = 0"},
}


def png(image: Image.Image) -> tuple[ImageRef, dict[str, bytes]]:
    data = io.BytesIO()
    image.save(data, "PNG")
    sha256 = hashlib.sha256(data.getvalue()).hexdigest()
    return ImageRef(sha256=sha256), {sha256: data.getvalue()}


def lit(studio: Studio, preprocessor: str = "grey", **fields: Any) -> list[bytes]:
    """The pictures of a job with a unit of the file that `Light` knows."""
    folder = studio.engine.models.catalogue.models_dir / "ControlNet"
    folder.mkdir(exist_ok=True)
    save_file({"lit.weight": torch.ones(1)}, folder / "lit.safetensors")
    ref, images = png(Image.new("RGB", (64, 48)))
    unit = ControlUnit(model="lit", image=ref, preprocessor=preprocessor)
    last = studio.run(Txt2Img(**{**PLAIN, "control": (unit,), **fields}), images)
    assert isinstance(last, Done), last
    return studio.blobs


@pytest.mark.parametrize("parts", HINT_WRITES.values(), ids=HINT_WRITES.keys())
def test_a_map_is_the_same_for_every_picture_and_job_whatever_its_readers_write(
    studio: Studio, parts: dict[str, str]
) -> None:
    def code(**parts: str) -> str:
        return GREY.format(**{"make": "pass", "prepare": "pass", "residuals": "pass", **parts})

    studio.add("light", code(), tables=TABLES)
    plain, other = lit(studio, batch_size=2, n_iter=2), lit(studio, seed=8)
    assert plain[0] != studio.draw()[0]
    studio.add("light", code(**parts), tables=TABLES)
    assert lit(studio, batch_size=2, n_iter=2) == plain
    assert lit(studio, batch_size=2, n_iter=2) == plain
    assert lit(studio, seed=8) == other
    assert studio.notes == []
    studio.off("light")


def test_the_mask_of_a_preprocessor_is_its_own(studio: Studio) -> None:
    code = """
    import numpy as np

    seen = []

    def inner(image, *, ctx):
        seen.append(int(ctx.mask.sum()))
        ctx.mask[:] = 7
        return image

    def outer(image, *, ctx):
        ctx.mask[:] = 3
        ctx.preprocess("inner", image)
        return image

    def open_pass(p):
        for unit in p.units:
            seen.append(float(unit.hint.mask.sum()))
        yield
    """
    tables = "".join(f'[[preprocessor]]\nid = "{id}"\nentry = "main:{id}"\nalone = true\n' for id in ("inner", "outer"))
    studio.add("masks", code, "open_pass", tables=tables)
    picture, images = png(Image.new("RGB", (64, 48)))
    white = np.zeros((48, 64), np.uint8)
    white[:, :32] = 255
    mask, more = png(Image.fromarray(white))
    units = tuple(ControlUnit(preprocessor=id, resolution=64) for id in ("outer", "inner"))
    request = Inpaint(
        **{**PLAIN, "init_image": picture, "mask": mask, "control": units, "inpaint_area": "Whole picture"}
    )
    assert isinstance(studio.run(request, images | more), Done)
    masks = studio.service("masks", "seen")
    assert masks[0] == masks[1]
    assert masks[2] == masks[3] == 48 * 32
    studio.off("masks")
