"""What every tab is made of: prompts, the row of Generate, sampling, size, seed, and what is left over."""

from __future__ import annotations

from dataclasses import dataclass, field

import gradio as gr
from gradio.components import Component

from webui.ui.assets import fragment
from webui.ui.controls import Form


@dataclass(frozen=True)
class Tab:
    """A tab that makes pictures.

    pictures: the components that hold the request's images, by the names that `pictures.request_images` knows.
    """

    form: Form
    generate: gr.Button
    pictures: dict[str, Component] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.form.tab


def own_html(content: str, *classes: str) -> gr.HTML:
    """HTML of our own, without Gradio's styles and scripts."""
    return gr.HTML(content, js_on_load=None, apply_default_css=False, padding=False, elem_classes=["a-html", *classes])


def prompts(form: Form) -> None:
    with gr.Column(elem_classes=["a-prompts"]):
        form.place("prompt", "negative_prompt", show_label=False)
        with gr.Row(elem_classes=["a-style-row"]):
            form.place("styles")
            own_html(f'<div class="a-styles" data-tab="{form.tab}">{fragment("styles.html")}</div>')


def action_row(form: Form) -> gr.Button:
    """Generate, Interrupt and Skip, and under them the place where this tab's errors are told."""
    tab = form.tab
    with gr.Row(elem_classes=["a-go"]):
        generate = gr.Button("Generate", variant="primary", elem_id=f"{tab}-generate", scale=4, min_width=120)
        interrupt = gr.Button("Interrupt", elem_id=f"{tab}-interrupt", elem_classes=["a-stop"], scale=1, min_width=80)
        skip = gr.Button("Skip", elem_id=f"{tab}-skip", elem_classes=["a-stop"], scale=1, min_width=60)
    own_html(f'<div class="a-messages" data-tab="{tab}" role="alert"></div>', "a-slot")
    interrupt.click(None, js="() => atelier.jobs.interrupt()")
    skip.click(None, js="() => atelier.jobs.skip()")
    return generate


def sampling(form: Form) -> None:
    with gr.Row():
        form.place("sampler", "scheduler")
    with gr.Row():
        form.place("steps", "cfg_scale")


def size(form: Form) -> None:
    with gr.Row(elem_classes=["a-pair", "a-size"]):
        form.place("width", min_width=60)
        swap = _icon("swap", "Swap width and height", f"{form.tab}-swap")
        form.place("height", min_width=60)
    sides = [form.components["width"], form.components["height"]]
    swap.click(None, sides, sides, js="(width, height) => [height, width]")


def batch(form: Form) -> None:
    with gr.Row(elem_classes=["a-pair"]):
        form.place("n_iter", "batch_size", min_width=60)


def seed(form: Form) -> None:
    with gr.Row(elem_classes=["a-pair"]):
        form.place("seed", min_width=80)
        dice = _icon("dice", "A new random seed each time", f"{form.tab}-random")
        recycle = _icon("recycle", "The seed of the picture shown", f"{form.tab}-reuse")
    field = form.components["seed"]
    dice.click(None, None, field, js="() => [-1]")
    recycle.click(None, field, field, js="(seed) => [atelier.result.seed() ?? seed]")


def refiner(form: Form) -> None:
    with gr.Accordion("Refiner", open=False, elem_id=f"{form.tab}-refine"), gr.Row():
        form.place("refiner", "refiner_switch_at")


def control(form: Form) -> None:
    """The places of the control units and of the accordions of extensions; the page's script draws both."""
    for part in ("control", "extras"):
        own_html(f'<div class="a-{part}" data-tab="{form.tab}"></div>', "a-place")


def advanced(form: Form) -> None:
    """Everything that has no place yet, folded away."""
    with gr.Accordion("Advanced", open=False, elem_id=f"{form.tab}-advanced"):
        with gr.Row():
            form.place("subseed_strength", "subseed")
        form.place_rest(columns=3)


def _icon(name: str, title: str, elem_id: str) -> gr.Button:
    """A small square button; its picture comes from the style sheet, its name for screen readers from the script."""
    return gr.Button(title, elem_id=elem_id, elem_classes=["a-icon", f"a-icon-{name}"], min_width=36, scale=0)
