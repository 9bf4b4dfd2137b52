"""The whole page: header, tabs on the left (forms, gallery, models, extensions), this window's result on the right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from webui.runtime.runtime import Runtime
from webui.ui import tab_img2img, tab_inpaint, tab_txt2img
from webui.ui.assets import fragment, head
from webui.ui.controls import to_script
from webui.ui.parts import Tab, own_html
from webui.ui.theme import THEME
from webui.ui.wiring import Bridge, wire_models, wire_own, wire_send, wire_styles, wire_tab

TABS: dict[str, tuple[str, Callable[[], Tab]]] = {
    "txt2img": ("txt2img", tab_txt2img.build),
    "img2img": ("img2img", tab_img2img.build),
    "inpaint": ("Inpaint", tab_inpaint.build),
}


def build_page(runtime: Runtime, about: Mapping[str, str] | None = None) -> gr.Blocks:
    """The page for one runtime. Its events only submit and read: they never wait for a picture.

    about: `version` and `project` (a link) for the foot of the page.
    """
    with gr.Blocks(title="Atelier", analytics_enabled=False, delete_cache=(600, 86400), fill_width=True) as page:
        model, refresh = _header()
        with gr.Row(elem_classes=["a-main"], equal_height=False):
            with gr.Column(scale=6, min_width=320, elem_classes=["a-left"]), gr.Tabs(elem_id="a-tabs") as tabs:
                built = [_tab(name, title, build) for name, (title, build) in TABS.items()]
                with gr.Tab("Gallery", id="gallery", elem_id="tab-gallery") as gallery:
                    _html("gallery.html")
                with gr.Tab("Models", id="models", elem_id="tab-models") as models:
                    _html("cards.html")
                with gr.Tab("Extensions", id="extensions", elem_id="tab-extensions") as extensions:
                    _html("extensions.html")
            with gr.Column(scale=5, min_width=320, elem_classes=["a-right"]):
                _html("result.html")
        _html("foot.html", about or {})
        _wire(page, runtime, built, model, refresh)
        tabs.change(None, js="() => atelier.tabs.changed()")
        gallery.select(None, js="() => atelier.gallery.open()")
        models.select(None, js="() => atelier.cards.open()")
        extensions.select(None, js="() => atelier.extensions.open()")
    page.queue(max_size=64)
    return page


def mount_options() -> dict[str, Any]:
    """What `gr.mount_gradio_app` needs to show the page as it is meant: nothing phones home, nothing is kept twice."""
    return {
        "ssr_mode": False,
        "run_history": False,
        "enable_monitoring": False,
        "mcp_server": False,
        "show_error": False,
        "footer_links": [],
        "max_file_size": "64mb",
        "theme": THEME,
        "head": head(),
        "app_kwargs": {"openapi_url": None, "docs_url": None, "redoc_url": None},
    }


def _header() -> tuple[gr.Dropdown, gr.Button]:
    with gr.Row(elem_classes=["a-head"]):
        _html("brand.html")
        with gr.Row(elem_classes=["a-model"]):
            model = gr.Dropdown(
                [], label="Model", elem_id="model", container=False, allow_custom_value=True, min_width=160, scale=1
            )
            refresh = gr.Button(
                "Look for new models", elem_id="model-refresh", elem_classes=["a-icon", "a-icon-refresh"],
                min_width=36, scale=0,
            )  # fmt: skip
        _html("status.html")
    _html("hint.html")
    return model, refresh


def _tab(name: str, title: str, build: Callable[[], Tab]) -> Tab:
    with gr.Tab(title, id=name, elem_id=f"tab-{name}"):
        return build()


def _html(name: str, values: Mapping[str, str] | None = None) -> gr.HTML:
    return own_html(fragment(name, values))


def _wire(page: gr.Blocks, runtime: Runtime, built: list[Tab], model: gr.Dropdown, refresh: gr.Button) -> None:
    bridges = {tab.name: Bridge(tab) for tab in built}
    for bridge in bridges.values():
        wire_tab(bridge, model, runtime)
        wire_send(bridge, runtime)
        wire_own(bridge)
    others = [one for tab in built for one in tab.form.offering()]
    wire_models(page, model, others, refresh, runtime)
    wire_styles(others, runtime)
    forms = {tab.name: tab.form.describe() for tab in built}
    page.load(None, js=f"() => {{ atelier.start({to_script(forms)}) }}")
