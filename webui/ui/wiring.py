"""What the page's events do. A press first runs in the browser (`js=`), where everything the page knows becomes one
JSON text; only that text goes to the server, without Gradio's queue, and a ticket comes back at once.

Two reasons for that first step: the mask editor is then uploaded once a press instead of at every later update of
the page, and a value that Gradio would refuse without a word is told by the request's own declaration, with its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.data_classes import FileData
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from webui.checkpoints.vaes import VAEFile
from webui.images.read import read_image
from webui.runtime.runtime import Runtime
from webui.schema.errors import BadRequest
from webui.schema.fields import Offers
from webui.schema.results import ModelInfo
from webui.ui.controls import EMPTY, FIRST, SEVERAL
from webui.ui.parts import Tab
from webui.ui.submit import answer, submit
from webui.ui.tab_inpaint import brush_for

LOCAL = "local"
API_PREFIX = "/gradio_api"
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class Bridge:
    """The hidden components between a tab and the page's script."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        name = tab.name
        self.payload = gr.Textbox(visible=False)
        self.ticket = gr.Textbox(visible=False)
        self.fill = gr.Button(visible="hidden", elem_id=f"{name}-fill")
        self.send = gr.Button(visible="hidden", elem_id=f"{name}-send") if tab.pictures else None
        self.own = gr.Button(visible="hidden", elem_id=f"{name}-own") if tab.pictures else None


def owner_of(request: gr.Request) -> str:
    """Who is asking: the user who logged in, or the one owner of a server without login."""
    return request.username or LOCAL


def wire_tab(bridge: Bridge, model: gr.Dropdown, runtime: Runtime) -> None:
    """Generate, filling the form from the script, and keeping it over a reload."""
    tab = bridge.tab
    name, form = tab.name, tab.form
    inputs = [*form.inputs, model, *tab.pictures.values()]
    names = json.dumps([*form.components, "model", *tab.pictures])

    def take(payload: str, request: gr.Request) -> str:
        return submit(runtime, payload, owner_of(request))

    collect = f"(...values) => atelier.form.collect('{name}', {names}, values)"
    press = tab.generate.click(None, inputs, bridge.payload, js=collect)
    posted = press.then(take, bridge.payload, bridge.ticket, **QUIET)
    posted.then(None, bridge.ticket, None, js=f"(ticket) => atelier.jobs.take('{name}', ticket)")
    pictures = list(tab.pictures.values())
    filled = f"() => atelier.form.filled('{name}', {json.dumps(list(tab.pictures))})"
    bridge.fill.click(None, None, [*form.inputs, *pictures], js=filled)
    for slider, top, bound in form.stretching():
        slider.input(None, slider, slider, js=f"(value) => [atelier.form.stretched(value, {top}, {bound})]")  # type: ignore[attr-defined]
    changes = [component.change for component in form.inputs]  # type: ignore[attr-defined]
    gr.on(changes, None, form.inputs, None, js=f"(...values) => {{ atelier.form.keep('{name}', values) }}")


def wire_send(bridge: Bridge, runtime: Runtime) -> None:
    """A result goes into this tab: the script names it, the server looks it up for its owner and copies it to where
    Gradio shows files from, the script puts it into the tab. Were the mask editor the output of a Python event, every
    later event of the page would upload it again."""
    if bridge.send is None:
        return
    name = bridge.tab.name
    slot = "editor" if "editor" in bridge.tab.pictures else "image"

    def copy(image_id: str, request: gr.Request) -> str:
        return json.dumps(answer(lambda: _copy_for_page(runtime, image_id, owner_of(request))))

    sent = bridge.send.click(copy, bridge.payload, bridge.ticket, js="() => [atelier.result.id()]", **QUIET)
    received = f"(ticket) => [atelier.form.received('{name}', '{slot}', ticket)]"
    sent.then(None, bridge.ticket, bridge.tab.pictures[slot], js=received)


def wire_own(bridge: Bridge) -> None:
    """The script asks for the tab's own picture, and its mask: what a control unit without one works on. Nothing meets
    the server."""
    if bridge.own is None:
        return
    take = f"(...values) => {{ atelier.units.take('{bridge.tab.name}', ...values) }}"
    bridge.own.click(None, list(bridge.tab.pictures.values()), None, js=take)


def wire_models(
    page: gr.Blocks,
    model: gr.Dropdown,
    others: Sequence[tuple[Component, Offers]],
    refresh: gr.Button,
    runtime: Runtime,
) -> None:
    """The lists of models and other files, read anew when the page is opened and when the user asks."""

    def choices() -> list[gr.Dropdown]:
        models, vaes = runtime.catalogue.list(), runtime.catalogue.vaes.list()
        found: dict[Offers, list[tuple[str, str]]] = {"vaes": _choices(vaes)}
        found["models"] = found["refiners"] = _choices(models)
        found["styles"] = _style_choices(runtime)
        rest = [_offered(kind, found[kind]) for _, kind in others]
        return [gr.Dropdown(choices=found["models"]), *rest]

    lists, chosen = [model, *(component for component, _ in others)], "(name) => atelier.models.open(name)"
    page.load(choices, None, lists, **QUIET).then(None, model, model, js=chosen)
    refresh.click(choices, None, lists, **QUIET).then(None, model, model, js=chosen)
    model.change(None, model, None, js="(name) => { atelier.models.choose(name) }")


def wire_styles(others: Sequence[tuple[Component, Offers]], runtime: Runtime) -> None:
    """The lists of styles, read anew when the script says that they have changed."""
    lists = [component for component, kind in others if kind == "styles"]
    changed = gr.Button(visible="hidden", elem_id="styles-refresh")
    changed.click(lambda: [_offered("styles", _style_choices(runtime))] * len(lists), None, lists, **QUIET)


def _offered(kind: Offers, found: list[tuple[str, str]]) -> gr.Dropdown:
    choices = [*FIRST[kind], *found]
    if kind != "styles":
        return gr.Dropdown(choices=choices)
    return gr.Dropdown(choices=choices, elem_classes=[SEVERAL, *([] if found else [EMPTY])])


def _style_choices(runtime: Runtime) -> list[tuple[str, str]]:
    """The names of this server's styles; none where their file cannot be read, which `GET /api/v1/styles` tells."""
    try:
        return [(name, name) for name in runtime.styles.styles.all()]
    except BadRequest:
        return []


def _copy_for_page(runtime: Runtime, image_id: str, owner: str) -> dict[str, Any]:
    """A saved picture as a `file` that Gradio's components take, and the `brush` and `eraser` for it."""
    if not image_id:
        raise BadRequest("No picture is chosen.", "Click one in the result or in the gallery first.")
    data = runtime.outputs.get(image_id, owner).read_bytes()
    path = save_bytes_to_cache(data, f"{image_id}.png", get_upload_folder())
    file = FileData(path=path, url=f"{API_PREFIX}/file={path}", orig_name=Path(path).name, mime_type="image/png")
    brush = brush_for(read_image(data).size)
    return {"file": file.model_dump(), "brush": asdict(brush), "eraser": asdict(gr.Eraser(brush.default_size))}


def _choices(files: Iterable[ModelInfo | VAEFile]) -> list[tuple[str, str]]:
    """What a list shows of each file, and the name that stands for it."""
    return [(f"⚠ {file.name}" if file.error else file.name, file.name) for file in files]
