from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from webui.schema.control import MAX_UNITS
from webui.schema.errors import AtelierError, BadRequest, ModelError
from webui.schema.events import Progress, parse_event
from webui.schema.fields import parameters
from webui.schema.generation import MAX_SEED, MAX_STEERING
from webui.schema.requests import REQUESTS, ImageRef, Img2Img, Inpaint, Txt2Img, parse_request
from webui.schema.resolve import image_seeds, resolve

REF = {"sha256": "a" * 64}


def refusal(**fields: Any) -> str:
    with pytest.raises(BadRequest) as error:
        parse_request({"kind": "txt2img", **fields})
    return error.value.message


def test_a_request_survives_json() -> None:
    request = Inpaint(prompt="x", init_image=ImageRef(**REF), mask=ImageRef(**REF), mask_blur=7)
    assert parse_request(request.model_dump(mode="json")) == request


def test_a_request_cannot_be_written_to() -> None:
    with pytest.raises(ValidationError):
        Txt2Img().steps = 3  # type: ignore[misc]


def test_an_unknown_field_is_refused_by_name() -> None:
    assert refusal(cgf_scale=7) == "unknown field 'cgf_scale'"


def test_a_bound_broken_names_the_field_as_the_page_does() -> None:
    assert refusal(steps=0).startswith("Sampling steps: ")
    assert "1001" in refusal(steps=1001)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "seven", None])
def test_a_value_that_is_no_number_is_refused(value: Any) -> None:
    assert refusal(cfg_scale=value).startswith("CFG scale")


def test_an_unknown_sampler_is_refused_with_the_known_ones() -> None:
    message = refusal(sampler="Eular")
    assert "Eular" in message
    assert "Euler a" in message


def test_an_alias_of_a_sampler_becomes_its_label() -> None:
    assert Txt2Img(sampler="k_euler_a", scheduler="karras").sampler == "Euler a"


def test_a_picture_over_the_limit_is_refused_before_any_work() -> None:
    assert "pixels" in refusal(width=4096, height=4104)
    assert "Upscale by" in refusal(width=2048, height=2048, enable_hr=True, hr_scale=4)


def test_an_image_is_named_by_its_hash_alone() -> None:
    for bad in ["../../etc/passwd", "A" * 64, "a" * 63, ""]:
        with pytest.raises(ValidationError):
            ImageRef(sha256=bad)


def test_a_kind_nobody_knows_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadRequest, match="txt2img, img2img, inpaint"):
        parse_request({"kind": "txt2vid"})


def test_many_control_units_are_taken_and_absurdly_many_refused() -> None:
    assert len(parse_request({"kind": "txt2img", "control": [{"weight": 0.5}] * MAX_UNITS}).control) == MAX_UNITS
    assert "at most 100" in refusal(control=[{}] * (MAX_UNITS + 1))


@pytest.mark.parametrize("steering", ["control", "ext", "absent_ext"])
def test_steering_that_no_picture_could_carry_in_its_text_is_refused(steering: str) -> None:
    def given(value: Any) -> dict[str, Any]:
        values = {"text": value}
        return (
            {"control": [{"params": values}] * 2} if steering == "control" else {steering: {"a": values, "b": values}}
        )

    assert f"the limit is {MAX_STEERING}" in refusal(**given("\u00e4" * (MAX_STEERING // 12)))  # six characters each
    assert refusal(**given(b"\xff")) == f"{steering} holds a value that JSON cannot hold"


def test_every_field_but_pictures_is_declared_for_the_faces() -> None:
    for model in REQUESTS.values():
        declared = {one.name for one in parameters(model)}
        assert set(model.model_fields) - declared == {"kind", "ext", "absent_ext", "control", *(
            name for name, field in model.model_fields.items() if field.annotation is ImageRef
        )}  # fmt: skip


def test_every_declared_parameter_has_a_title_a_help_and_bounds_around_its_default() -> None:
    for model in REQUESTS.values():
        for one in parameters(model):
            assert one.title
            assert one.help
            if one.type in (int, float):
                assert one.minimum is not None
                assert one.maximum is not None
                assert one.default is None or one.minimum <= one.default <= one.maximum
            if one.choices:
                assert one.default in one.choices


def test_an_optional_number_is_described_as_one() -> None:
    width = next(one for one in parameters(Txt2Img) if one.name == "width")
    assert (width.type, width.optional, width.default) == (int, True, None)


def test_what_a_request_leaves_open_is_fixed_once() -> None:
    fixed = resolve(Txt2Img(), model="m", native_size=128)
    assert (fixed.model, fixed.width, fixed.height) == ("m", 128, 128)
    assert fixed.seed >= 0
    assert fixed.subseed >= 0
    assert resolve(fixed, model="m", native_size=512) == fixed


def test_the_size_of_the_picture_to_start_from_is_kept() -> None:
    request = Img2Img(init_image=ImageRef(**REF))
    assert (lambda r: (r.width, r.height))(resolve(request, model="m", native_size=128, init_size=(517, 333))) == (
        517,
        333,
    )


def test_a_picture_too_large_to_be_drawn_is_refused_with_the_cure() -> None:
    with pytest.raises(BadRequest, match="smaller width"):
        resolve(Img2Img(init_image=ImageRef(**REF)), model="m", native_size=128, init_size=(9000, 10))


@given(st.integers(0, MAX_SEED), st.integers(0, 63))
def test_pictures_count_their_seeds_up(seed: int, index: int) -> None:
    assert image_seeds(Txt2Img(seed=seed, subseed=5), index) == ((seed + index) % 2**32, 5)
    assert image_seeds(Txt2Img(seed=seed, subseed=5, subseed_strength=0.1), index) == (seed, 5 + index)


def test_an_error_crosses_the_process_boundary_whole() -> None:
    error = AtelierError.from_json(ModelError("broken file", "fetch it again").to_json())
    assert isinstance(error, ModelError)
    assert (error.message, error.cure, error.status) == ("broken file", "fetch it again", 422)


def test_an_event_survives_json() -> None:
    event = Progress(job_id="a", step=1, steps=2, image=0, images=1, fraction=0.5)
    assert parse_event(event.model_dump(mode="json")) == event


def test_the_sampler_and_schedule_of_the_hires_pass_are_known_ones_or_none() -> None:
    fields = {"kind": "txt2img", "enable_hr": True}
    request = parse_request(
        {**fields, "hr_sampler_name": "k_euler_a", "hr_scheduler": " sgmuniform ", "hr_prompt": " "}
    )
    assert isinstance(request, Txt2Img)
    assert (request.hr_sampler_name, request.hr_scheduler, request.hr_prompt) == ("Euler a", "SGM Uniform", "")
    for name in ("hr_sampler_name", "hr_scheduler"):
        with pytest.raises(BadRequest, match=r"Hires s.*: unknown .* 'magic'; choose one of"):
            parse_request({**fields, name: "magic"})
    with pytest.raises(BadRequest, match="Hires CFG scale"):
        parse_request({**fields, "hr_cfg": 0.5})
