"""A picture from words."""

from __future__ import annotations

import gradio as gr

from webui.schema.requests import Txt2Img
from webui.ui.controls import Form
from webui.ui.parts import Tab, action_row, advanced, batch, control, prompts, refiner, sampling, seed, size


def build() -> Tab:
    form = Form("txt2img", Txt2Img)
    prompts(form)
    generate = action_row(form)
    sampling(form)
    with gr.Row(elem_classes=["a-pairs"]):
        size(form)
        batch(form)
        seed(form)
    with gr.Accordion("Hires. fix", open=False, elem_id="txt2img-hires"):
        with gr.Row():
            form.place("enable_hr", "hr_upscaler")
        with gr.Row():
            form.place("hr_scale", "denoising_strength", "hr_steps")
        form.place("hr_model")
        with gr.Accordion("Its own prompts and sampler", open=False, elem_id="txt2img-hires-own"):
            with gr.Row():
                form.place("hr_sampler_name", "hr_scheduler", "hr_cfg")
            with gr.Column(elem_classes=["a-prompts"]):
                form.place("hr_prompt", "hr_negative_prompt", show_label=False)
    refiner(form)
    control(form)
    advanced(form)
    return Tab(form, generate)
