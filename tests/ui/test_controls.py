"""Controls are drawn from the declaration of the requests, and from nothing else."""

from __future__ import annotations

import json

import gradio as gr
import pytest
from pydantic import BaseModel

from webui.schema.fields import parameter, parameters
from webui.schema.requests import REQUESTS, Txt2Img
from webui.ui import tab_img2img, tab_inpaint, tab_txt2img
from webui.ui.controls import Form, control, to_script
from webui.ui.parts import Tab

TABS = {"txt2img": tab_txt2img.build, "img2img": tab_img2img.build, "inpaint": tab_inpaint.build}


@pytest.fixture(params=TABS)
def tab(request: pytest.FixtureRequest) -> Tab:
    with gr.Blocks():
        return TABS[request.param]()


def test_every_parameter_of_a_request_stands_in_its_tab_once(tab: Tab) -> None:
    declared = {item.name for item in parameters(REQUESTS[tab.name])} - {"model"}
    assert set(tab.form.components) == declared


def test_controls_carry_the_declared_label_default_bounds_and_choices(tab: Tab) -> None:
    for item in parameters(REQUESTS[tab.name]):
        component = tab.form.components.get(item.name)
        if component is None or item.group == "prompt":
            continue
        assert component.label == item.title
        assert component.elem_id == f"{tab.name}-{item.name}"
        if item.choices:
            assert [value for _label, value in component.choices] == list(item.choices)
        if isinstance(component, gr.Slider | gr.Number):
            assert (component.minimum, component.step) == (item.minimum, item.step)
            assert component.value == item.default
        if isinstance(component, gr.Number):
            assert component.maximum == item.maximum


def test_a_slider_that_ends_early_grows_to_the_declared_bound() -> None:
    with gr.Blocks():
        form = tab_txt2img.build().form
    bounds = {component.label: (component.maximum, top, bound) for component, top, bound in form.stretching()}
    assert bounds["Sampling steps"] == (100, 100, 1000)


def test_a_new_parameter_appears_by_itself() -> None:
    class Larger(Txt2Img):
        glow: float = parameter(0.5, title="Glow", help="How it glows.", group="advanced", step=0.1, ge=0, le=1)

    with gr.Blocks():
        form = Form("txt2img", Larger)
        form.place("prompt")
        form.place_rest()
    assert isinstance(form.components["glow"], gr.Slider)
    assert form.describe()[-1]["name"] == list(form.components)[-1]


def test_a_number_that_may_be_left_open_is_an_empty_field() -> None:
    class Open(BaseModel):
        width: int | None = parameter(None, title="Width", help="", group="size", step=8, ge=16, le=4096)

    (item,) = parameters(Open)
    with gr.Blocks():
        component = control(item, "txt2img")
    assert isinstance(component, gr.Textbox)
    assert component.value in ("", None)
    assert component.placeholder == "auto"


def test_a_field_of_several_texts_is_a_list_to_choose_from(tab: Tab) -> None:
    styles = tab.form.components["styles"]
    assert isinstance(styles, gr.Dropdown)
    assert (styles.multiselect, styles.value) == (True, [])
    assert (styles, "styles") in tab.form.offering()
    (told,) = (item for item in tab.form.describe() if item["name"] == "styles")
    assert (told["type"], told["default"]) == ("tuple", ())


def test_what_goes_into_a_script_element_cannot_end_it() -> None:
    text = to_script({"title": "</script><!-- & \u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"title": "</script><!-- & \u2028"}
