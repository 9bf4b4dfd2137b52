"""A picture from words and a picture."""

from __future__ import annotations

import gradio as gr

from webui.schema.requests import Img2Img
from webui.ui.controls import Form
from webui.ui.parts import Tab, action_row, advanced, batch, control, prompts, refiner, sampling, seed, size


def build() -> Tab:
    form = Form("img2img", Img2Img)
    prompts(form)
    generate = action_row(form)
    with gr.Row(elem_classes=["a-source"]):
        image = picture("Picture to start from", "img2img-image")
        with gr.Column(min_width=220):
            form.place("denoising_strength", "noise_level", "image_cfg_scale", "inpainting_mask_weight", "resize_mode")
            size(form)
    sampling(form)
    with gr.Row(elem_classes=["a-pairs"]):
        batch(form)
        seed(form)
    refiner(form)
    control(form)
    advanced(form)
    return Tab(form, generate, {"image": image})


def picture(label: str, elem_id: str, height: int = 260) -> gr.Image:
    """A field that takes one picture: dropped, chosen or pasted. PNG, so that nothing is lost on the way."""
    return gr.Image(
        label=label, elem_id=elem_id, type="filepath", format="png", sources=["upload", "clipboard"], height=height,
        buttons=["fullscreen"], min_width=220,
    )  # fmt: skip
