"""Repaint the part of a picture that is painted over."""

from __future__ import annotations

import gradio as gr

from webui.schema.requests import Inpaint
from webui.ui.controls import Form
from webui.ui.parts import Tab, action_row, advanced, batch, control, prompts, refiner, sampling, seed, size
from webui.ui.tab_img2img import picture

PAINT = ("#8a6cff", 0.6)  # colour and opacity


def build() -> Tab:
    form = Form("inpaint", Inpaint)
    prompts(form)
    generate = action_row(form)
    editor = mask_editor()
    with gr.Accordion("Upload a mask instead", open=False, elem_id="inpaint-mask-upload"):
        mask = picture("Mask: white is repainted", "inpaint-mask", height=200)
    with gr.Row():
        form.place("denoising_strength", "image_cfg_scale", "inpainting_mask_weight", "mask_blur")
    with gr.Row():
        form.place("masked_content", "inpaint_area", "padding")
    with gr.Row():
        form.place("mask_invert", "resize_mode")
    sampling(form)
    with gr.Row(elem_classes=["a-pairs"]):
        size(form)
        batch(form)
        seed(form)
    refiner(form)
    control(form)
    advanced(form)
    return Tab(form, generate, {"editor": editor, "mask": mask})


def mask_editor() -> gr.ImageEditor:
    """One layer to paint on, at the picture's own size. The mask is where the layer is not transparent: the paint lets
    the picture shine through, and its colour is seen on white and on black."""
    brush = brush_for((512, 512))
    return gr.ImageEditor(
        label="Picture", elem_id="inpaint-editor", type="filepath", image_mode="RGBA", format="png",
        sources=["upload", "clipboard"], transforms=(), canvas_size=(512, 512), fixed_canvas=False, height=480,
        layers=gr.LayerOptions(allow_additional_layers=False), brush=brush, eraser=gr.Eraser(brush.default_size),
        placeholder="Drop a picture here\nor send one over from a result,\nthen paint over what shall change",
        buttons=["fullscreen"],
    )  # fmt: skip


def brush_for(size: tuple[int, int]) -> gr.Brush:
    """A brush for a picture of this size (width, height); its radius counts in pixels of the picture."""
    radius = min(48, max(3, min(size) // 20))
    return gr.Brush(default_size=radius, colors=[PAINT], default_color=PAINT, color_mode="fixed")
