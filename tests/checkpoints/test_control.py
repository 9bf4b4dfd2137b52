"""Control files known by their headers."""

from __future__ import annotations

import json

import pytest

from webui.checkpoints.control import detect_control
from webui.checkpoints.header import Header, TensorInfo
from webui.schema.errors import ModelError


def header(metadata: dict[str, str] | None = None, **shapes: tuple[int, ...]) -> Header:
    return Header({name.replace("__", "."): TensorInfo("F16", shape) for name, shape in shapes.items()}, metadata or {})


T2I = {"conv_in__weight": (320, 192, 3, 3), "body__0__block1__weight": (320, 320, 3, 3)}


@pytest.mark.parametrize(
    ("shapes", "kind", "family"),
    [
        (T2I, "T2I-Adapter", "sd1"),
        ({**T2I, "conv_in__weight": (320, 768, 3, 3)}, "T2I-Adapter", "sdxl"),
        ({"ip_adapter__1__to_k_ip__weight": (320, 768)}, "IP-Adapter", "sd1"),
        ({"ip_adapter__1__to_k_ip__weight": (640, 2048)}, "IP-Adapter", "sdxl"),
        ({"lora_controlnet": (0,), "input_hint_block__0__weight": (16, 3, 3, 3)}, "Control-LoRA", "sdxl"),
        ({"lora_controlnet": (0,), "input_hint_block__0__weight": (16, 3, 3, 3),
          "input_blocks__11__0__in_layers__0__weight": (1280,)}, "Control-LoRA", "sd1"),
    ],
)  # fmt: skip
def test_kind_and_family_are_in_the_shapes(shapes, kind, family):
    info = detect_control(header(**shapes))
    assert (info.kind, info.family) == (kind, family)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({}, "an empty file"),
        ({"lllite_unet_input_blocks_4_1__down__0__weight": (4, 4)}, "ControlLLLite"),
        ({"style_embedding": (1, 8, 4)}, "style adapter"),
        ({"down_blocks__0__motion_modules__0__weight": (4,)}, "SparseCtrl"),
        ({"lora_unet_x__lora_up__weight": (4, 4)}, "no control model: it looks like a LoRA"),
        ({"something": (1,)}, "no control model that is known here. It holds something"),
    ],
)
def test_what_cannot_be_used_is_named(shapes, words):
    with pytest.raises(ModelError, match=words):
        detect_control(header(**shapes))


def test_names_tell_what_shapes_do_not():
    assert detect_control(header(**T2I), "t2i_shuffle").pooled
    assert not detect_control(header(**T2I), "t2i_canny").pooled


def test_what_the_file_says_goes_before_its_name():
    said = header({"atelier.control": json.dumps({"pooled": False, "order": "bgr"})}, **T2I)
    info = detect_control(said, "t2i_shuffle")
    assert (info.pooled, info.bgr) == (False, True)
    assert detect_control(header(**T2I), "x", {"global_pool_conditions": True}).pooled


def test_t2i_adapters_of_sdxl_were_trained_on_blue_green_red():
    assert detect_control(header(**{**T2I, "conv_in__weight": (320, 768, 3, 3)})).bgr
    assert not detect_control(header(**T2I)).bgr
