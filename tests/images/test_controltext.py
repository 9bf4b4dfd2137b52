"""Control units and extensions in a picture's text: for other programs, and exactly for this one."""

import io
import json
import re

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from webui.images.controltext import OWN_CHUNK, control_labels, own_text, read_control
from webui.images.form import parse, read_form
from webui.images.infotext import texts_for
from webui.images.pairs import read_pairs, write_pairs
from webui.images.save import png_bytes
from webui.images.textchunks import read_texts
from webui.schema.control import CONTROL_MODES, CONTROL_RESIZE_MODES, HR_OPTIONS, ControlUnit
from webui.schema.fields import parameters
from webui.schema.generation import MAX_STEERING
from webui.schema.requests import ImageRef, Txt2Img
from webui.schema.results import ModelInfo

MODEL = ModelInfo(name="v1-5", file="v1-5.safetensors", sha256="6ce01616" * 8)
A1111 = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
CANNY = {"canny": ("low", "high")}

name = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
number = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
scalar = number | st.booleans() | name
sha = st.text("0123456789abcdef", min_size=64, max_size=64)
image = st.none() | st.builds(ImageRef, sha256=sha)


@st.composite
def unit(draw) -> ControlUnit:
    start, end = sorted((draw(st.floats(0, 1)), draw(st.floats(0, 1))))
    return ControlUnit(
        enabled=draw(st.booleans()), image=draw(image), mask=draw(image), region_mask=draw(image),
        preprocessor=draw(name), params=draw(st.dictionaries(name, scalar, max_size=4)),
        resolution=draw(st.integers(64, 2048)), pixel_perfect=draw(st.booleans()), model=draw(name),
        weight=draw(st.floats(0, 2)), start=start, end=end, mode=draw(st.sampled_from(CONTROL_MODES)),
        resize_mode=draw(st.sampled_from(CONTROL_RESIZE_MODES)), hr_option=draw(st.sampled_from(HR_OPTIONS)),
        layer_weights=tuple(draw(st.lists(st.floats(0, 2), max_size=13))), union_type=draw(name),
        low_vram=draw(st.booleans()), save_map=draw(st.booleans()),
    )  # fmt: skip


extensions = st.dictionaries(name, st.dictionaries(name, scalar, max_size=3), max_size=2)


@given(st.lists(unit(), max_size=4), extensions, extensions)
def test_every_field_of_units_and_extensions_comes_back_from_the_saved_file(units, ext, absent):
    request = Txt2Img(prompt="a cat", width=64, height=64, control=tuple(units), ext=ext, absent_ext=absent)
    texts = texts_for(request, MODEL, 1, 2)
    parameters_text, chunk = read_texts(png_bytes(Image.new("RGB", (1, 1)), texts))
    form = read_form(parameters_text, chunk)
    acting = tuple(one for one in units if one.enabled)
    assert form.values["control"] == acting
    assert form.values["ext"] == ext
    assert form.values["absent_ext"] == {id: values for id, values in absent.items() if id not in ext}
    assert form.notes == ()
    again = request.model_copy(update={name: form.values[name] for name in ("control", "ext", "absent_ext")})
    assert texts_for(again, MODEL, 1, 2)[OWN_CHUNK] == chunk if chunk else OWN_CHUNK not in texts


plain = st.text("abcxyz019_- ,:\"'\\äß", min_size=1, max_size=20)


def test_as_many_units_with_the_longest_poses_as_a_request_may_hold_come_back():
    pose = '{"people":[' + ",".join(["0.25"] * 39_990) + "]}"
    units = [ControlUnit(preprocessor="openpose_json", params={"pose": pose})] * (MAX_STEERING // (len(pose) + 1000))
    request = Txt2Img(width=64, height=64, control=units)
    data = png_bytes(Image.new("RGB", (1, 1)), texts_for(request, MODEL, 1, 2))
    assert read_control({}, read_texts(data)[1], {}).units == tuple(units)


def test_twelve_units_come_back_in_their_order_also_from_the_text_for_other_programs():
    units = tuple(ControlUnit(preprocessor="canny", weight=number / 10, model=f"m{number}") for number in range(12))
    texts = texts_for(Txt2Img(width=64, height=64, control=units), MODEL, 1, 2)
    text, chunk = read_texts(png_bytes(Image.new("RGB", (1, 1)), texts))
    assert [label for label in parse(text).fields if label.startswith("ControlNet")] == [
        f"ControlNet {number}" for number in range(12)
    ]
    assert read_form(text, chunk).values["control"] == units
    assert read_form(text).values["control"] == units


@given(unit(), plain, plain.filter(lambda text: text != "None"), st.integers(0, 255), st.integers(0, 255))
def test_what_other_programs_write_is_read_field_by_field(one, preprocessor, model, low, high):
    one = one.model_copy(
        update={
            "enabled": True, "preprocessor": preprocessor, "model": model, "params": {"low": low, "high": high},
        }
    )  # fmt: skip
    text = read_form(texts_for(Txt2Img(width=64, height=64, control=(one,)), MODEL, 1, 2)["parameters"]).values
    fields = parse(texts_for(Txt2Img(width=64, height=64, control=(one,)), MODEL, 1, 2)["parameters"]).fields
    (back,) = read_control(fields, "", {preprocessor: ("low", "high")}).units
    declared = [item.name for item in parameters(ControlUnit) if item.infotext]
    assert {item: getattr(back, item) for item in declared} == {item: getattr(one, item) for item in declared}
    assert back.params == one.params
    assert text["control"]


def test_the_text_is_that_of_sd_webui_controlnet():
    one = ControlUnit(preprocessor="canny", model="toybox-canny", params={"low": 100, "high": 200, "fine": True})
    assert control_labels((ControlUnit(enabled=False), one)) == {
        "ControlNet 1": "Module: canny, Processor Res: 512, Threshold A: 100, Threshold B: 200, Pixel Perfect: False, "
        "Model: toybox-canny, Weight: 1, Guidance Start: 0, Guidance End: 1, Control Mode: Balanced, "
        "Resize Mode: Crop and Resize, Hr Option: Both, Low Vram: False"
    }


def test_a1111_reads_the_line_with_a_unit_in_it():
    request = Txt2Img(
        prompt="a", width=64, height=64, control=(ControlUnit(preprocessor="canny", model='a "b", c: d'),)
    )
    line = texts_for(request, MODEL, 1, 2)["parameters"].split("\n")[-1]
    pairs = dict(A1111.findall(line))
    assert pairs["Version"].startswith("atelier")
    assert dict(read_pairs(json.loads(pairs["ControlNet 0"])))["Model"] == 'a "b", c: d'


def test_a_text_of_another_program_is_read():
    text = (
        "a\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, RNG: CPU, "
        'ControlNet 0: "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 1.2, '
        "Resize Mode: Just Resize, Low Vram: False, Processor Res: 768, Threshold A: 50, Threshold B: -1, "
        "Guidance Start: 0.1, Guidance End: 0.8,"
        ' Pixel Perfect: True, Control Mode: ControlNet is more important, Hr Option: Both, Save Detected Map: True"'
    )
    form = read_form(text, "", CANNY)
    (one,) = form.values["control"]
    assert one == ControlUnit(
        preprocessor="canny", model="control_v11p_sd15_canny [d14c016b]", weight=1.2, resize_mode="Just Resize",
        resolution=768, params={"low": 50}, start=0.1, end=0.8, pixel_perfect=True, mode=CONTROL_MODES[2],
    )  # fmt: skip
    assert form.notes == (
        "The text of this picture does not hold the pictures of its control units: choose them again.",
    )


def test_wrong_values_and_unknown_thresholds_are_told():
    fields = {"ControlNet 0": "Module: x, Weight: 9, Control Mode: Wild, Threshold A: 3"}
    control = read_control(fields, "", CANNY)
    assert control.units == (ControlUnit(preprocessor="x"),)
    assert control.notes[:3] == (
        "ControlNet 0: Weight cannot be '9'.",
        "ControlNet 0: Control Mode cannot be 'Wild'.",
        "ControlNet 0: The thresholds of the preprocessor 'x' are not known here.",
    )


def test_a_broken_unit_of_the_chunk_is_left_out_with_a_note():
    control = read_control(
        {}, json.dumps({"control": [{"weight": 7}, {"model": "m"}], "ext": {"a": {"b": 1}, "c": 2}}), {}
    )
    assert control.units == (ControlUnit(model="m"),)
    assert control.ext == {"a": {"b": 1}}
    assert control.notes[0].startswith("Control unit 1 is left out")


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_makes_the_reader_fail(text, chunk):
    read_control({"ControlNet 0": text, "ControlNet 3": chunk}, chunk, CANNY)


def test_what_is_no_number_in_json_is_nothing():
    assert read_control({}, '{"ext": {"a": {"b": NaN, "c": -Infinity, "d": 1}}}', {}).ext == {
        "a": {"b": None, "c": None, "d": 1}
    }


def test_values_that_had_no_part_in_a_picture_stand_apart_from_those_that_had():
    text = own_text((), {"a": {"b": 1}}, {"a": {"b": 2}, "c": {"d": 3}})
    told = json.loads(text)
    assert (told["ext"], told["absent_ext"]) == ({"a": {"b": 1}}, {"c": {"d": 3}})
    assert "absent_ext" not in json.loads(own_text((), {"a": {"b": 1}}))
    assert json.loads(own_text((), {}, {"c": {"d": 3}}))["absent_ext"] == {"c": {"d": 3}}
    assert read_control({}, '{"absent_ext": [1], "ext": {"a": 2}}', {}) == read_control({}, "{}", {})


def test_pictures_without_units_carry_no_second_text():
    assert own_text((ControlUnit(enabled=False),), {}) == ""
    assert OWN_CHUNK not in texts_for(Txt2Img(width=64, height=64), MODEL, 1, 2)
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "JPEG")
    assert read_texts(buffer.getvalue()) == ("", "")


@given(st.dictionaries(st.sampled_from(["Ab", "C d", "E-f", "G/h"]), name | number))
def test_pairs_come_back(fields):
    texts = {key: value if isinstance(value, str) else None for key, value in fields.items()}
    back = dict(read_pairs(write_pairs(fields)))
    assert all(back[key] == text for key, text in texts.items() if text is not None)
    assert set(back) == set(fields)
