"""PNG text: A1111's `parameters`, written and read."""

import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from webui.images.form import parse, read_form
from webui.images.infotext import infotext_for, write
from webui.images.save import png_bytes
from webui.images.textchunks import read_infotext
from webui.schema.errors import BadImage
from webui.schema.requests import INPAINT_AREAS, MASKED_CONTENTS, UPSCALERS, ImageRef, Img2Img, Inpaint, Txt2Img
from webui.schema.results import ModelInfo

MODEL = ModelInfo(
    name="v1-5", file="v1-5.safetensors", sha256="6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa"
)
REF = ImageRef(sha256="0" * 64)
A1111 = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
"""The pattern that A1111 1.10 reads with."""


def test_the_text_is_in_the_order_and_form_of_a1111():
    request = Txt2Img(prompt="a cat", negative_prompt="dog", scheduler="Karras", width=512, height=768)
    assert infotext_for(request, MODEL, 7, 9) == (
        "a cat\nNegative prompt: dog\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 7, Size: 512x768, "
        "Model hash: 6ce0161689, Model: v1-5, RNG: CPU, Version: atelier 0.1.0"
    )


def test_a_hires_pass_is_written_with_its_fields():
    request = Txt2Img(enable_hr=True, hr_steps=10, hr_upscaler="Lanczos", denoising_strength=0.5, width=64, height=64)
    text = infotext_for(request, MODEL, 1, 1)
    assert ", Denoising strength: 0.5, RNG: CPU, Hires upscale: 2, Hires steps: 10, Hires upscaler: Lanczos, " in text


def test_the_checkpoint_of_a_hires_pass_is_written_and_read():
    request = Txt2Img(enable_hr=True, hr_model="wide", width=64, height=64)
    text = infotext_for(request, MODEL, 1, 1)
    assert "Hires upscaler: Latent, Hires checkpoint: wide, Version" in text
    assert read_form(text).values["hr_model"] == "wide"
    assert "Hires checkpoint" not in infotext_for(request.model_copy(update={"enable_hr": False}), MODEL, 1, 1)


def test_a_refiner_is_written_and_read_with_its_switch():
    request = Txt2Img(refiner="fine", width=64, height=64)
    text = infotext_for(request, MODEL, 1, 1)
    assert ", RNG: CPU, Refiner: fine, Refiner switch at: 0.8, Version" in text
    read = read_form(text.replace("at: 0.8", "at: 0.65")).values
    assert (read["refiner"], read["refiner_switch_at"]) == ("fine", 0.65)
    assert "Refiner" not in infotext_for(request.model_copy(update={"refiner": ""}), MODEL, 1, 1)


def test_unused_options_are_not_written():
    text = infotext_for(Txt2Img(width=64, height=64), MODEL, 1, 1)
    labels = parse(text).fields
    assert set(labels) == {
        "Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model", "RNG", "Version",
    }  # fmt: skip


def test_inpainting_is_written_with_its_fields():
    request = Inpaint(
        init_image=REF,
        mask=REF,
        width=64,
        height=64,
        inpaint_area="Only masked",
        masked_content="fill",
        mask_invert=True,
    )  # fmt: skip
    text = infotext_for(request, MODEL, 1, 1)
    assert (
        "Denoising strength: 0.75, RNG: CPU, Mask mode: Inpaint not masked, Mask blur: 4, Inpaint area: Only masked, "
        "Masked area padding: 32, Masked content: fill, Version"
    ) in text


def test_the_noise_level_is_written_for_upscalers_in_the_place_of_the_strength():
    request = Img2Img(init_image=ImageRef(sha256="a" * 64), width=64, height=64, seed=1)
    larger = MODEL.model_copy(update={"extra": "upscale"})
    text = infotext_for(request, larger, 1, 1)
    assert ", Noise level: 20, " in text
    assert "Denoising" not in text
    assert "Noise level" not in infotext_for(request, MODEL, 1, 1)
    stronger = infotext_for(request.model_copy(update={"noise_level": 90}), larger, 1, 1)
    assert read_form(stronger).values["noise_level"] == 90


def test_the_image_cfg_scale_is_written_for_models_that_edit_and_for_no_other():
    request = Img2Img(init_image=REF, width=64, height=64)
    edits = MODEL.model_copy(update={"extra": "edit"})
    text = infotext_for(request, edits, 1, 1)
    assert ", CFG scale: 7, Image CFG scale: 1.5, Seed: 1, " in text
    assert "Image CFG" not in infotext_for(request, MODEL, 1, 1)
    stronger = infotext_for(request.model_copy(update={"image_cfg_scale": 2.5}), edits, 1, 1)
    assert read_form(stronger).values["image_cfg_scale"] == 2.5
    assert read_form(infotext_for(request, MODEL, 1, 1)).values["image_cfg_scale"] == 1.5


def test_the_mask_weight_is_written_for_inpainting_models_and_for_no_other():
    request = Inpaint(init_image=REF, mask=REF, width=64, height=64)
    paints = MODEL.model_copy(update={"extra": "inpaint"})
    assert "Denoising strength: 0.75, Conditional mask weight: 1, RNG" in infotext_for(request, paints, 1, 1)
    assert "mask weight" not in infotext_for(request, MODEL, 1, 1)
    weaker = infotext_for(request.model_copy(update={"inpainting_mask_weight": 0.4}), paints, 1, 1)
    assert read_form(weaker).values["inpainting_mask_weight"] == 0.4
    theirs = "a\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64, Conditional mask weight: 0.25"
    assert read_form(theirs).values["inpainting_mask_weight"] == 0.25


def test_values_with_commas_colons_or_line_breaks_are_quoted_as_json():
    text = write({"Steps": 1, "Seed": 2, "A": 'x, "y"', "B": "12:30", "C": "é\nü", "D": "plain"})
    assert text == r'Steps: 1, Seed: 2, A: "x, \"y\"", B: "12:30", C: "é\nü", D: plain'


def test_extras_stand_before_the_version_and_none_leaves_a_label_out():
    text = infotext_for(Txt2Img(width=64, height=64), MODEL, 1, 1, {"Lora hashes": "a: 1", "RNG": None})
    assert text.endswith('Model: v1-5, Lora hashes: "a: 1", Version: atelier 0.1.0')


def test_a_last_line_with_fewer_than_three_pairs_is_prompt():
    info = parse("a cat\nat 12: 30, size: large")
    assert (info.prompt, info.fields) == ("a cat\nat 12: 30, size: large", {})


def test_prompts_may_have_many_lines():
    info = parse("a\n\nb\nNegative prompt: c\nd\nSteps: 1, Seed: 2, Size: 8x8")
    assert (info.prompt, info.negative_prompt) == ("a\n\nb", "c\nd")
    assert info.fields == {"Steps": "1", "Seed": "2", "Size": "8x8"}


def test_quoted_values_are_read_back():
    assert parse(r'Steps: 1, Seed: 2, Hint: "x, \"y\": z", B: "bad \q"').fields["Hint"] == 'x, "y": z'


line = st.text(st.characters(exclude_characters="\n\0", exclude_categories=("Cs",)), max_size=40)
prompt = st.lists(line, max_size=4).map("\n".join).filter(lambda text: "Negative prompt:" not in text)


@given(line)
def test_a_line_is_read_as_a1111_reads_it(text):
    pairs = dict(A1111.findall(text))
    expected = {key: unquoted(value) for key, value in pairs.items()} if len(A1111.findall(text)) >= 3 else {}
    assert parse(text.strip()).fields == expected or text != text.strip()


@given(st.lists(st.sampled_from(["ab", ":", ",", " ", '"', "\\", "-", "c", "/", "é", "1"]), max_size=40).map("".join))
def test_punctuation_is_read_as_a1111_reads_it(text):
    text = f"Steps: 1, Seed: 2, Size: 3{text}".strip()
    assert parse(text).fields == {key: unquoted(value) for key, value in A1111.findall(text)}


def unquoted(value):
    try:
        return str(json.loads(value)) if len(value) > 1 and value[0] == value[-1] == '"' else value
    except ValueError:
        return value


def stripped(text):
    return "\n".join(part.strip() for part in text.split("\n")).strip()


txt2img = st.builds(
    Txt2Img,
    prompt=prompt, negative_prompt=prompt,
    sampler=st.sampled_from(["Euler", "DPM++ 2M SDE Heun", "DDIM CFG++", "PLMS"]),
    scheduler=st.sampled_from(["Automatic", "Karras", "SGM Uniform"]),
    steps=st.integers(1, 1000), width=st.integers(16, 2000), height=st.integers(16, 2000),
    cfg_scale=st.floats(1, 30), cfg_rescale=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1), subseed=st.integers(0, 2**32 - 1), subseed_strength=st.floats(0.001, 1),
    clip_skip=st.integers(1, 12), eta=st.none() | st.floats(0, 1), s_noise=st.floats(0, 2),
    enable_hr=st.just(True), hr_scale=st.floats(1, 2), hr_steps=st.integers(0, 99),
    hr_upscaler=st.sampled_from(UPSCALERS), denoising_strength=st.floats(0, 1),
)  # fmt: skip
inpaint = st.builds(
    Inpaint,
    init_image=st.just(REF), mask=st.just(REF), prompt=prompt,
    seed=st.integers(0, 99), subseed=st.just(-1), width=st.just(64), height=st.just(64),
    mask_blur=st.integers(0, 64), mask_invert=st.booleans(), masked_content=st.sampled_from(MASKED_CONTENTS),
    inpaint_area=st.sampled_from(INPAINT_AREAS), resize_mode=st.sampled_from(["Just resize", "Resize and fill"]),
    denoising_strength=st.floats(0, 1),
)  # fmt: skip


@given(txt2img | inpaint)
def test_a_request_comes_back_from_its_text(request):
    text = infotext_for(request, MODEL, request.seed, request.subseed)
    values = read_form(text).values
    given = {name: getattr(request, name) for name in values if name in type(request).model_fields}
    given |= {"prompt": stripped(request.prompt), "negative_prompt": stripped(request.negative_prompt)}
    assert {name: values[name] for name in given} == given
    type(request).model_validate(request.model_dump() | {name: values[name] for name in given})


def test_the_sampler_of_older_texts_names_its_schedule():
    values = read_form("a\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1").values
    assert (values["sampler"], values["scheduler"]) == ("DPM++ 2M", "Karras")


def test_a_named_schedule_goes_before_the_one_in_the_sampler():
    values = read_form("a\nSteps: 20, Sampler: DPM++ 2M Karras, Schedule type: Exponential, Seed: 1").values
    assert values["scheduler"] == "Exponential"


def test_absent_fields_take_the_defaults_that_writers_leave_out():
    values = read_form("a\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x768").values
    assert values["clip_skip"] == 1
    assert values["scheduler"] == "Automatic"
    assert values["masked_content"] == "original"
    assert values["inpaint_area"] == "Whole picture"
    assert values["padding"] == 32
    assert values["mask_invert"] is False
    assert values["enable_hr"] is False
    assert (values["width"], values["height"]) == (512, 768)
    assert "denoising_strength" not in values


def test_a_text_without_parameters_fills_only_the_prompts():
    assert read_form("a cat\nNegative prompt: dog").values == {"prompt": "a cat", "negative_prompt": "dog"}


def test_the_first_pass_size_of_older_texts_means_a_hires_pass():
    values = read_form("a\nSteps: 20, Sampler: Euler a, Seed: 1, Size: 1024x1024, First pass size: 512x512").values
    assert (values["width"], values["height"]) == (512, 512)
    assert (values["enable_hr"], values["hr_scale"]) == (True, 2.0)


@pytest.mark.parametrize(("size", "scale"), [("768x768", 1.5), ("768x0", 1.5), ("0x1280", 2.5), ("0x0", 2.0)])
def test_hires_resize_becomes_a_scale(size: str, scale: float):
    values = read_form(f"a\nSteps: 20, Seed: 1, Size: 512x512, Hires resize: {size}, Hires upscaler: Latent").values
    assert (values["enable_hr"], values["hr_scale"]) == (True, scale)


def test_values_out_of_bounds_are_moved_into_them_with_a_note():
    form = read_form("a\nSteps: 5000, Sampler: Euler a, CFG scale: 0.5, Seed: 1, RNG: CPU")
    assert (form.values["steps"], form.values["cfg_scale"]) == (1000, 1.0)
    assert form.notes == ("Steps: 5000 is outside 1 to 1000; 1000 is used.",
                          "CFG scale: 0.5 is outside 1 to 30; 1.0 is used.")  # fmt: skip


def test_unknown_samplers_and_bad_numbers_are_left_out_with_a_note():
    form = read_form("a\nSteps: many, Sampler: Frobnicate, CFG scale: nan, Seed: 1, RNG: CPU")
    assert not {"steps", "sampler", "cfg_scale"} & form.values.keys()
    assert len(form.notes) == 3
    assert any("Frobnicate" in note.title() for note in form.notes)


def test_a_picture_made_with_other_noise_says_so():
    assert "noise" in read_form("a\nSteps: 20, Sampler: Euler a, Seed: 1").notes[0]


def test_the_model_is_told_but_not_among_the_values():
    form = read_form("a\nSteps: 20, Seed: 1, Model hash: 6ce0161689, Model: v1-5, RNG: CPU")
    assert (form.model, form.model_hash) == ("v1-5", "6ce0161689")
    assert "model" not in form.values


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_fail(text):
    values = read_form(text).values
    known = {name: value for name, value in values.items() if name in Txt2Img.model_fields}
    if "width" not in known or known["width"] * known["height"] <= 16_777_216:
        Txt2Img.model_validate(known)


def test_a_long_line_takes_linear_time():
    for part in ("ab ", "a:", 'ab:"', '\\"', "-", "a, ", 'ab: "\\", '):
        parse(part * (200_000 // len(part)))


picture = Image.new("RGB", (8, 8))
TEXT = "ein Bär\nSteps: 20, Sampler: Euler, Seed: 1"


def test_the_text_of_a_png_is_read():
    for text in (TEXT, "赤い球, Steps: 1", ""):
        assert read_infotext(png_bytes(picture, {"parameters": text})) == text


def test_text_behind_the_pixels_of_a_png_is_read():
    buffer, info = io.BytesIO(), PngInfo()
    info.add_itxt("parameters", TEXT)
    info.add(b"tEXt", b"parameters\0" + TEXT.encode("latin-1"), after_idat=True)
    picture.save(buffer, "PNG", pnginfo=info)
    assert read_infotext(buffer.getvalue()) == TEXT


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("code", ["utf-16-be", "utf-16-le"])
def test_the_exif_comment_of_other_formats_is_read(kind, code):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + TEXT.encode(code)
    buffer = io.BytesIO()
    picture.save(buffer, kind, exif=exif.tobytes())
    assert read_infotext(buffer.getvalue()) == TEXT


def test_the_comment_of_a_gif_is_read():
    buffer = io.BytesIO()
    picture.save(buffer, "GIF", comment=TEXT.encode())
    assert read_infotext(buffer.getvalue()) == TEXT


def test_a_picture_without_text_has_an_empty_one():
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    assert read_infotext(buffer.getvalue()) == ""


def test_a_bomb_is_not_decoded_for_its_text(monkeypatch):
    data = png_bytes(Image.new("L", (10_000, 10_000)))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda image: pytest.fail("decoded"))
    assert read_infotext(data) == ""


def test_no_picture_has_no_text():
    with pytest.raises(BadImage):
        read_infotext(b"Steps: 20")


def test_the_eta_of_ddim_has_a_label_of_its_own_and_is_read_back() -> None:
    for sampler, label in [("DDIM", "Eta DDIM: 0.5"), ("Euler a", "Eta: 0.5")]:
        request = Txt2Img(sampler=sampler, eta=0.5, width=64, height=64)
        text = infotext_for(request, ModelInfo(name="m", file="m.safetensors"), 1, 0)
        assert f", {label}," in text
        assert read_form(text).values["eta"] == 0.5


OWN = {
    "hr_prompt": 'a dog, "big"\nSteps: 3', "hr_negative_prompt": "Negative prompt: x", "hr_sampler_name": "Euler a",
    "hr_scheduler": "Automatic", "hr_cfg": 3.5,
}  # fmt: skip


def test_what_a_hires_pass_has_for_its_own_is_written_as_a1111_does_and_read_back():
    request = Txt2Img(prompt="a cat", enable_hr=True, width=64, height=64, **OWN)
    text = infotext_for(request, MODEL, 1, 1)
    assert "Hires sampler: Euler a, Hires schedule type: Automatic, Hires CFG Scale: 3.5, Hires prompt: " in text
    read = read_form(text)
    assert {name: read.values[name] for name in OWN} == OWN
    assert (read.values["prompt"], read.notes) == ("a cat", ())
    for name, value in A1111.findall(text.rsplit("\n", 1)[1]):
        if name in ("Hires prompt", "Hires negative prompt"):
            assert json.loads(value) in OWN.values()
    assert "Hires " not in infotext_for(request.model_copy(update={"enable_hr": False}), MODEL, 1, 1)


@pytest.mark.parametrize(
    ("written", "sampler", "schedule", "cfg"),
    [
        ("", "", "", None),
        ("Hires sampler: Use same sampler, Hires schedule type: Use same scheduler", "", "", None),
        ("Hires sampler: DPM++ 2M Karras", "DPM++ 2M", "Karras", None),
        ("Hires sampler: DDIM, Hires schedule type: SGM Uniform, Hires CFG Scale: 5", "DDIM", "SGM Uniform", 5.0),
    ],
)
def test_the_hires_sampler_of_other_programs_is_read(written, sampler, schedule, cfg):
    values = read_form(f"a cat\nSteps: 20, Sampler: Euler, Seed: 1, Hires upscale: 2, {written}").values
    assert (values["hr_sampler_name"], values["hr_scheduler"], values["hr_cfg"]) == (sampler, schedule, cfg)
    assert (values["hr_prompt"], values["hr_negative_prompt"]) == ("", "")


def test_a_hires_sampler_that_is_not_known_is_told_and_the_first_one_taken():
    read = read_form("a\nSteps: 20, Sampler: Euler, Seed: 1, RNG: CPU, Hires upscale: 2, Hires sampler: Magic")
    assert read.values["hr_sampler_name"] == ""
    assert "Hires pass: unknown sampler 'Magic'" in read.notes[0]


def test_the_eta_stands_under_the_label_of_each_sampler_that_takes_it():
    request = Txt2Img(enable_hr=True, sampler="Euler a", hr_sampler_name="DDIM", eta=0.3, width=64, height=64)
    text = infotext_for(request, MODEL, 1, 1)
    assert "Eta: 0.3" in text
    assert "Eta DDIM: 0.3" in text
    assert read_form(text).values["eta"] == 0.3


def test_tiles_that_were_asked_for_are_written_and_read() -> None:
    request = Txt2Img(width=64, height=64, tiled_vae=True)
    text = infotext_for(request, MODEL, 1, 1)
    assert ", Tiled VAE: True, " in text
    assert read_form(text).values["tiled_vae"] is True
    plain = infotext_for(request.model_copy(update={"tiled_vae": False}), MODEL, 1, 1)
    assert "Tiled VAE" not in plain
    assert read_form(plain).values["tiled_vae"] is False
    odd = read_form(text.replace("Tiled VAE: True", "Tiled VAE: perhaps"))
    assert "tiled_vae" not in odd.values
    assert odd.notes == ("Tiled VAE: 'perhaps' is neither True nor False.",)
