"""What holds of the whole page without a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import gradio as gr
import pytest

from webui.runtime.runtime import Runtime
from webui.ui.assets import SCRIPTS, STATIC, fragment, head
from webui.ui.controls import EMPTY
from webui.ui.page import build_page, mount_options


@pytest.fixture(scope="module")
def page(runtime: Runtime) -> gr.Blocks:
    return build_page(runtime, {"version": "1 <b>"})


def test_events_only_submit_and_read_and_none_waits_in_gradios_queue(page: gr.Blocks) -> None:
    with_server = [event for event in page.fns.values() if event.fn is not None]
    assert len(with_server) == 8  # Generate of three tabs, sending to two, the list of models twice, that of styles
    assert all(event.queue is False for event in with_server)
    assert all(event.api_visibility == "private" for event in with_server)


def test_the_mask_editor_never_meets_the_server(page: gr.Blocks) -> None:
    editors = {block._id for block in page.blocks.values() if isinstance(block, gr.ImageEditor)}
    assert len(editors) == 1
    for event in page.fns.values():
        touched = {block._id for block in (*event.inputs, *event.outputs)}
        assert event.fn is None or not touched & editors


def test_no_window_holds_a_connection_open(page: gr.Blocks) -> None:
    # Browsers open six connections to a server; Gradio takes one a window wherever the page holds a gr.State.
    assert page.get_config_file()["connect_heartbeat"] is False


def test_the_script_calls_only_what_it_has(page: gr.Blocks) -> None:
    scripts = "".join((STATIC / f"{name}.js").read_text() for name in SCRIPTS)
    events = " ".join(str(event.js) for event in page.fns.values())
    called = set(re.findall(r"atelier\.(\w+)[.(]", events + scripts))
    defined = set(re.findall(r"^atelier\.(\w+) =", scripts, re.M))
    assert {"form", "jobs", "start"} <= called <= defined


def test_nothing_a_user_wrote_is_read_as_html() -> None:
    scripts = "".join((STATIC / f"{name}.js").read_text() for name in SCRIPTS)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", scripts)


def test_nothing_of_the_page_comes_from_another_host() -> None:
    for path in sorted(Path(STATIC).iterdir()):
        found = re.findall(r"https?://[^\s'\")]+", path.read_text(encoding="utf-8"))
        assert set(found) <= {"http://www.w3.org/2000/svg"}, path.name


def test_values_in_fragments_are_escaped() -> None:
    assert "1 &lt;b&gt;" in fragment("foot.html", {"version": "1 <b>"})


def test_scripts_and_styles_stand_in_the_head() -> None:
    text = head()
    assert text.count("<script>") == text.count("</script>") == 1
    assert text.count("<style>") == text.count("</style>") == 1


def test_gradio_keeps_and_tells_nothing_of_its_own() -> None:
    options = mount_options()
    off = ("ssr_mode", "run_history", "enable_monitoring", "mcp_server", "show_error")
    assert {options[name] for name in off} == {False}
    assert options["app_kwargs"]["openapi_url"] is None


def test_the_page_has_every_field_of_every_form(page: gr.Blocks) -> None:
    (start,) = [str(event.js) for event in page.fns.values() if "atelier.start" in str(event.js)]
    forms = json.loads(start[start.index("(", 4) + 1 : start.rindex(")")])
    assert list(forms) == ["txt2img", "img2img", "inpaint"]
    assert {
        "name",
        "title",
        "help",
        "optional",
        "default",
        "minimum",
        "maximum",
        "step",
        "choices",
        "type",
        "top",
    } == set(forms["inpaint"][0])


def test_the_lists_of_styles_have_what_the_server_has_and_are_seen_only_then(page: gr.Blocks, runtime: Runtime) -> None:
    load = next(event for event in page.fns.values() if event.fn is not None and len(event.outputs) > 3)
    read = load.fn
    assert read is not None
    at = [index for index, block in enumerate(load.outputs) if str(block.elem_id).endswith("-styles")]
    assert len(at) == 3

    def offered() -> list[tuple[list[str], bool]]:
        listed = read()
        updates = [listed[index] for index in at]
        return [([value for _, value in one.choices], EMPTY in one.elem_classes) for one in updates]

    assert offered() == [([], True)] * 3
    file = runtime.settings.models_dir / "styles.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_text("name,prompt\nInk,ink\nFine,fine", encoding="utf-8")
    assert offered() == [(["Ink", "Fine"], False)] * 3
    file.write_text("name,prompt\nInk," + "x" * 200_000, encoding="utf-8")
    assert offered() == [([], True)] * 3
    file.unlink()
