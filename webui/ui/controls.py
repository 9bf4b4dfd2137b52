"""A declared parameter becomes a control of the page. Nothing is declared a second time here."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel

from webui.schema.fields import Offers, Parameter, parameters
from webui.schema.generation import AUTOMATIC_VAE, OWN_VAE

# A slider of 1000 steps on 300 pixels cannot be aimed: these end earlier. Larger values come from a PNG or REST,
# and the slider then grows to the declared bound.
COMFORTABLE_TOP: dict[str, float] = {"steps": 100, "hr_steps": 100, "s_churn": 20, "s_tmin": 20, "image_cfg_scale": 3}
SAME = "Same as the first"
"""The empty choice of what a second pass may have for its own."""
FIRST: dict[Offers, tuple[tuple[str, str], ...]] = {
    "models": ((SAME, ""),),
    "refiners": (("None", ""),),
    "styles": (),
    "vaes": ((AUTOMATIC_VAE, AUTOMATIC_VAE), (OWN_VAE, OWN_VAE)),
}
"""What the list of a field begins with that offers what is found: (shown, value)."""
SEVERAL, EMPTY = "a-several", "a-empty-list"
"""Classes of a list of which several are chosen, and of one that offers nothing: it is not seen."""
PLAIN_NUMBERS = frozenset({"size", "batch", "seed"})
PROMPT_LINES = {"prompt": 3, "negative_prompt": 2, "hr_prompt": 2, "hr_negative_prompt": 2}


class Form:
    """The controls of one tab, by field name.

    `place` puts controls where the surrounding `with` blocks say; what nobody placed goes into `place_rest`, so that a
    new field of the request appears on the page by itself. `shared` are fields that stand outside the tab (the model).
    """

    def __init__(self, tab: str, request: type[BaseModel], shared: Iterable[str] = ("model",)) -> None:
        self.tab = tab
        self.parameters = {item.name: item for item in parameters(request) if item.name not in set(shared)}
        self.components: dict[str, Component] = {}

    def place(self, *names: str, **settings: Any) -> None:
        """Put the controls of these fields here; a field that this request does not have is passed over."""
        for name in names:
            if name in self.parameters and name not in self.components:
                self.components[name] = control(self.parameters[name], self.tab, **settings)

    def place_rest(self, *, columns: int = 2) -> None:
        """Put all controls here that have no place yet, so many in a row."""
        left = [name for name in self.parameters if name not in self.components]
        for start in range(0, len(left), columns):
            with gr.Row():
                self.place(*left[start : start + columns])

    def stretching(self) -> list[tuple[Component, float, float]]:
        """The sliders that end before their declared bound: (slider, where it ends, the bound)."""
        found = ((self.components.get(name), top, self.parameters.get(name)) for name, top in COMFORTABLE_TOP.items())
        return [(slider, top, item.maximum) for slider, top, item in found if slider and item and item.maximum]

    def offering(self) -> list[tuple[Component, Offers]]:
        """The lists that files of this server belong into, and of what kind these are."""
        found = ((component, self.parameters[name].offers) for name, component in self.components.items())
        return [(component, offers) for component, offers in found if offers]

    @property
    def inputs(self) -> list[Component]:
        return list(self.components.values())

    def describe(self) -> list[dict[str, Any]]:
        """What the page's script needs to know of each field, in the order of `inputs`."""
        return [_for_script(self.parameters[name]) for name in self.components]


def control(item: Parameter, tab: str, **settings: Any) -> Component:
    """The control that suits the type, the bounds and the choices of a parameter."""
    own = {"label": item.title, "value": item.default, "elem_id": f"{tab}-{item.name}", "min_width": 110}
    settings = own | settings
    if item.type is tuple:
        value = list(item.default)
        return gr.Dropdown([], multiselect=True, elem_classes=[SEVERAL, EMPTY], **settings | {"value": value})
    if item.name in PROMPT_LINES:
        return _prompt(item, settings)
    if item.type is bool:
        return gr.Checkbox(**settings)
    if item.choices:
        return gr.Dropdown([(name or SAME, name) for name in item.choices], **settings)
    if item.offers:
        return gr.Dropdown(list(FIRST[item.offers]), allow_custom_value=True, **settings)
    if item.type is str:
        return gr.Textbox(**settings)
    if item.optional:
        # gr.Number turns an empty field into 0; "auto" has to stay empty.
        return gr.Textbox(
            **settings | {"value": ""}, placeholder=SAME.lower() if item.group == "hires" else "auto", max_lines=1
        )
    if item.group in PLAIN_NUMBERS or item.minimum is None or item.maximum is None:
        return _number(item, settings)
    return _slider(item, settings)


def _prompt(item: Parameter, settings: dict[str, Any]) -> Component:
    hint = f"{item.title}: {item.help[:1].lower()}{item.help[1:]}"
    lines = PROMPT_LINES[item.name]
    return gr.Textbox(
        lines=lines, max_lines=14, placeholder=hint, elem_classes=["a-prompt"], container=False, **settings
    )


def _number(item: Parameter, settings: dict[str, Any]) -> Component:
    precision = 0 if item.type is int else None
    return gr.Number(minimum=item.minimum, maximum=item.maximum, step=item.step or 1, precision=precision, **settings)


def _slider(item: Parameter, settings: dict[str, Any]) -> Component:
    assert item.minimum is not None
    assert item.maximum is not None
    top = min(item.maximum, COMFORTABLE_TOP.get(item.name, item.maximum))
    return gr.Slider(item.minimum, top, step=item.step, buttons=[], **settings)


def _for_script(item: Parameter) -> dict[str, Any]:
    kept = ("name", "title", "help", "optional", "default", "minimum", "maximum", "step", "choices")
    described = {key: value for key, value in asdict(item).items() if key in kept}
    return described | {"type": item.type.__name__, "top": COMFORTABLE_TOP.get(item.name)}


def to_script(value: Any) -> str:
    """JSON that may stand inside a <script> element: no `</script>` and no comment can begin in it."""
    return json.dumps(value, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
