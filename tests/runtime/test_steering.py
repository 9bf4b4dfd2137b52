"""Control units and extension values are checked when a job is submitted; the user's choices are kept."""

from __future__ import annotations

import io
from concurrent.futures import Future

import pytest
from PIL import Image

from tests.extensions.support import ROOT
from tests.runtime.conftest import House, engine_of, finish, txt2img
from tests.steered import SKETCH, allow, write_control_model, write_extension
from webui.engine.interface import Answered
from webui.images.form import read_form
from webui.images.textchunks import read_texts
from webui.prompt.wildcards import expand
from webui.runtime import questions
from webui.runtime.runtime import Runtime
from webui.schema.asks import Answer, Preprocess, RouteCall
from webui.schema.control import ControlUnit
from webui.schema.errors import AtelierError, BadRequest, EngineDied, Forbidden, NotFound
from webui.schema.images import ImageRef


@pytest.fixture
def runtime(house: House) -> Runtime:
    write_extension(house.root / "extensions" / "sketch")
    write_control_model(house.root / "models")
    allow(house.root / "data", "sketch")
    return house.open({"extensions_dirs": (house.root / "extensions",)})


def picture(runtime: Runtime, size: tuple[int, int] = (48, 32)) -> ImageRef:
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, "PNG")
    return runtime.inputs.add(file.getvalue())


def unit(runtime: Runtime, **changes: object) -> ControlUnit:
    given = {"image": picture(runtime), "preprocessor": "lines", "model": "tiny-canny"} | changes
    return ControlUnit.model_validate(given)


def test_a_job_keeps_all_parameters_of_its_units_and_extensions(runtime: Runtime) -> None:
    request = txt2img(control=(unit(runtime, params={"high": 150}),), ext={"sketch": {"ink": "blue"}})
    view = finish(runtime, runtime.jobs.submit(request, "local"))
    assert view.request["control"][0]["params"] == {"low": 100, "high": 150, "thick": False}
    assert view.request["ext"] == {"sketch": {"strength": 0.5, "ink": "blue"}}


def test_a_job_tells_what_each_unit_did_and_keeps_its_map(runtime: Runtime) -> None:
    request = txt2img(steps=4, control=(unit(runtime, end=0.5), unit(runtime, save_map=False)))
    view = finish(runtime, runtime.jobs.submit(request, "local"))
    first, second = view.units
    assert (first.unit, first.steps) == (1, (0, 1, 2))
    assert first.ratios == pytest.approx((0.3, 0.15, 0.1))
    assert (second.unit, len(second.ratios)) == (2, 4)
    (kept,) = view.maps
    assert (kept.unit, kept.width, kept.height) == (1, 48, 32)
    assert runtime.inputs.size(ImageRef(sha256=kept.sha256)) == (48, 32)


def test_a_job_of_twelve_units_is_taken_and_its_picture_tells_of_all(runtime: Runtime) -> None:
    units = tuple(unit(runtime, weight=0.1 + number / 100) for number in range(12))
    view = finish(runtime, runtime.jobs.submit(txt2img(control=units), "local"))
    assert (view.state, len(view.units), len(view.maps)) == ("done", 12, 12)
    text, chunk = read_texts(runtime.outputs.get(view.images[0].id, "local").read_bytes())
    told = read_form(text, chunk).values["control"]
    assert [one.weight for one in told] == [one.weight for one in units]
    assert [one.image for one in told] == [one.image for one in units]


def test_a_unit_without_effect_is_a_warning(runtime: Runtime) -> None:
    view = finish(runtime, runtime.jobs.submit(txt2img(control=(unit(runtime, weight=0),)), "local"))
    assert view.notes == (
        "Control unit 1 has weight 0: it changes nothing.",
        "Control unit 1: it had no effect.",
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"preprocessor": "nothing"}, "Control unit 2, preprocessor: there is no 'nothing'"),
        ({"params": {"low": 300}}, "Control unit 2, preprocessor: The parameter \"low\" is 300"),
        ({"model": "other"}, "Control unit 2, model: There is no control model 'other'"),
        ({"image": None}, "Control unit 2, image: there is none"),
        ({"hr_option": "High res only"}, "no such pass"),
    ],
)  # fmt: skip
def test_a_unit_that_cannot_act_refuses_the_job_by_name(runtime: Runtime, changes: dict, told: str) -> None:
    request = txt2img(control=(unit(runtime), unit(runtime, **changes)))
    with pytest.raises(BadRequest) as refused:
        runtime.jobs.submit(request, "local")
    assert told in refused.value.message
    off = request.control[1].model_copy(update={"enabled": False})
    assert runtime.jobs.submit(request.model_copy(update={"control": (request.control[0], off)}), "local")


@pytest.mark.parametrize(
    ("ext", "told"),
    [
        ({"sketsh": {}}, "There is no extension 'sketsh' (did you mean \"sketch\"?)."),
        ({"sketch": {"strength": 7}}, "Sketch: The parameter \"strength\" is 7"),
        ({"sketch": {"inc": "blue"}}, "Sketch: There is no parameter \"inc\""),
    ],
)  # fmt: skip
def test_values_of_extensions_are_checked_against_the_manifest(runtime: Runtime, ext: dict, told: str) -> None:
    with pytest.raises(BadRequest) as refused:
        runtime.jobs.submit(txt2img(ext=ext), "local")
    assert told in refused.value.message


def test_an_extension_is_switched_off_and_on_and_the_engine_is_told(runtime: Runtime) -> None:
    runtime.extensions.disable("sketch")
    assert runtime.extensions.find("sketch").state == "disabled"
    assert runtime.steering.types()["All"]["preprocessors"] == ["none"]
    with pytest.raises(BadRequest, match="does not run: it is switched off"):
        runtime.jobs.submit(txt2img(ext={"sketch": {}}), "local")
    runtime.extensions.enable("sketch")
    runtime.extensions.reload("sketch")
    assert runtime.extensions.find("sketch").state == "ready"
    assert runtime.engine.refreshed == [(), ("sketch",), ("sketch",)]  # type: ignore[attr-defined]


def test_settings_are_checked_and_kept(runtime: Runtime) -> None:
    assert runtime.extensions.settings("sketch") == {"quality": 3}
    assert runtime.extensions.set_settings("sketch", {"quality": 5}) == {"quality": 5}
    with pytest.raises(BadRequest, match="quality"):
        runtime.extensions.set_settings("sketch", {"quality": 50})
    assert runtime.extensions.settings("sketch") == {"quality": 5}


def test_a_locked_server_changes_nothing(house: House) -> None:
    write_extension(house.root / "extensions" / "sketch")
    runtime = house.open({"extensions_dirs": (house.root / "extensions",), "extensions_locked": True})
    extensions = runtime.extensions
    refused = (
        lambda: extensions.enable("sketch", allow=True), lambda: extensions.disable("sketch"),
        lambda: extensions.reload("sketch"), lambda: extensions.set_settings("sketch", {}),
        lambda: extensions.install(lambda into: pytest.fail("installed")),
        lambda: extensions.remove("sketch", lambda found: pytest.fail("removed")),
    )  # fmt: skip
    for change in refused:
        with pytest.raises(Forbidden, match="--allow-remote-extensions"):
            change()
    assert extensions.find("sketch").state == "disabled"


def test_models_belong_to_the_types_that_their_names_hold(runtime: Runtime) -> None:
    types = runtime.steering.types()
    assert types["All"]["models"] == ["tiny-canny"]
    canny = {"preprocessors": ["lines"], "models": ["tiny-canny"], "preprocessor": "lines", "model": "tiny-canny"}
    assert types["Canny"] == canny
    assert runtime.steering.thresholds() == {"lines": ("low", "high")}


def test_a_map_is_made_and_kept(runtime: Runtime) -> None:
    ref = picture(runtime)
    made = runtime.questions.preprocess(Preprocess(unit=unit(runtime), image=ref))
    assert (made.width, made.height) == (48, 32)
    with Image.open(runtime.inputs.path(made.image)) as image:
        assert image.getpixel((0, 0)) == (255, 127, 127)
    seen = runtime.questions.preprocess(Preprocess(unit=unit(runtime), image=ref, width=64, height=96, fit=True))
    assert (seen.width, seen.height) == (64, 96)
    ((what, body), *_rest) = runtime.engine.asked  # type: ignore[attr-defined]
    assert (what, body["unit"]["params"]) == ("preprocess", {"low": 100, "high": 200, "thick": False})


def test_without_a_preprocessor_the_picture_is_the_map(runtime: Runtime) -> None:
    ref = picture(runtime)
    made = runtime.questions.preprocess(Preprocess(unit=unit(runtime, preprocessor="none"), image=ref))
    assert made.image == ref


def test_what_a_preprocessor_says_reaches_the_face(runtime: Runtime) -> None:
    ref = picture(runtime)
    with pytest.raises(AtelierError, match="fails at 13"):
        runtime.questions.preprocess(Preprocess(unit=unit(runtime, params={"low": 13}), image=ref))
    with pytest.raises(BadRequest, match="no preprocessor 'away'"):
        runtime.questions.preprocess(Preprocess(unit=unit(runtime, preprocessor="away"), image=ref))


def test_only_declared_routes_are_called(runtime: Runtime) -> None:
    assert runtime.questions.route(RouteCall(ext="sketch", name="echo", body={"a": 1})) == ({"heard": {"a": 1}}, ())
    for ext, name in (("sketch", "other"), ("none", "echo")):
        with pytest.raises(NotFound):
            runtime.questions.route(RouteCall(ext=ext, name=name))


def test_a_manifest_that_changes_is_read_again(runtime: Runtime, house: House) -> None:
    write_extension(house.root / "extensions" / "sketch", SKETCH.replace('"Lines"', '"Strokes"'))
    runtime.extensions.refresh()
    assert runtime.extensions.preprocessors["lines"][1].label == "Strokes"


def test_a_preprocessor_without_its_model_file_refuses_job_and_preview_at_once(house: House) -> None:
    model = '[[model]]\nid = "net"\nfile = "net.bin"\nrepository = "somebody/net"\n'
    write_extension(
        house.root / "extensions" / "sketch", SKETCH.replace("resolution = 512", 'models = ["net"]') + model
    )
    write_control_model(house.root / "models")
    allow(house.root / "data", "sketch")
    runtime = house.open({"extensions_dirs": (house.root / "extensions",)})
    place = house.root / "models" / "ControlNetPreprocessor"
    told = "Sketch needs net.bin, which is not in models/ControlNetPreprocessor."
    with pytest.raises(BadRequest) as refused:
        runtime.jobs.submit(txt2img(control=(unit(runtime),)), "local")
    assert refused.value.message == f"Control unit 1, preprocessor: {told}"
    assert "put it there yourself (from somebody/net)" in refused.value.cure
    question = Preprocess(unit=unit(runtime), image=picture(runtime))
    with pytest.raises(NotFound, match=r"needs net\.bin"):
        runtime.questions.preprocess(question)
    place.mkdir()
    (place / "net.bin").touch()
    assert finish(runtime, runtime.jobs.submit(txt2img(control=(unit(runtime),)), "local")).units


def test_fields_without_their_model_file_refuse_the_job_at_once_where_they_are_on(house: House) -> None:
    write_extension(house.root / "extensions" / "clip_rank", (ROOT / "clip_rank" / "extension.toml").read_text())
    allow(house.root / "data", "clip_rank")
    runtime = house.open({"extensions_dirs": (house.root / "extensions",)})
    net = "clip_vit_base_patch32"
    for on in ("compare", "describe"):
        with pytest.raises(BadRequest) as refused:
            runtime.jobs.submit(txt2img(ext={"clip_rank": {on: True}}), "local")
        assert refused.value.message.startswith("CLIP rank needs config.json, preprocessor_config.json, ")
        assert net in refused.value.message
        assert "Fetch them under Extensions" in refused.value.cure
    for values in ({}, {"order": False, "words": "a ball", "model": net}, {"compare": True, "model": "mine"}):
        assert runtime.jobs.submit(txt2img(ext={"clip_rank": values}), "local")


POSE = SKETCH.replace('"sketch"', '"stick"').replace('"lines"', '"stick"').replace('"edges"', '"pose"\npicture = false')


def test_a_map_of_no_picture_is_asked_for_without_one(house: House) -> None:
    write_extension(house.root / "extensions" / "sketch")
    write_extension(house.root / "extensions" / "stick", POSE)
    allow(house.root / "data", "sketch", "stick")
    runtime = house.open({"extensions_dirs": (house.root / "extensions",)})
    made = runtime.questions.preprocess(Preprocess(unit=ControlUnit(preprocessor="stick"), width=40, height=24))
    assert (made.width, made.height) == (40, 24)
    for other in ("lines", "none"):
        with pytest.raises(BadRequest, match="no picture to make a map of"):
            runtime.questions.preprocess(Preprocess(unit=ControlUnit(preprocessor=other)))


def test_what_is_made_for_one_family_alone_is_offered_last(house: House) -> None:
    early = SKETCH.replace('"sketch"', '"early"').replace('"lines"', '"toys"')
    early = early.replace('kind = "edges"', 'kind = "edges"\nfamily = "toybox"')
    for id, text in (("early", early), ("sketch", SKETCH)):
        write_extension(house.root / "extensions" / id, text)
    allow(house.root / "data", "early", "sketch")
    offer = house.open({"extensions_dirs": (house.root / "extensions",)}).steering.types()["Canny"]
    assert (offer["preprocessors"], offer["preprocessor"]) == (["lines", "toys"], "lines")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"styles": ("Inc",)}, "There is no style 'Inc'. Known styles: Ink, Wild."),
        ({"prompt": "a __colours__ ball"}, "There is no wildcard file 'colours'. The nearest names are colour."),
        ({"negative_prompt": "{2$$__nothing__}"}, "There is no wildcard file 'nothing'."),
        ({"styles": ("Wild",)}, "There is no wildcard file 'nowhere'."),
        ({"styles": ("Ink",), "prompt": "<lora:gone>"}, "gone"),
        ({"prompt": "{__colour__|a {b|{2$$c|__nothing__}}}"}, "There is no wildcard file 'nothing'."),
        ({"prompt": "{__deep__|__deep__}"}, "There is no wildcard file 'missing'."),
        ({"prompt": "{a|b} {<lora:gone:1>|<lora:gone:0.5>}"}, "gone"),
        ({"enable_hr": True, "hr_prompt": "{a|__nothing__}"}, "There is no wildcard file 'nothing'."),
        ({"enable_hr": True, "hr_prompt": "<lora:gone>"}, "gone"),
    ],
)
def test_styles_and_wildcard_files_that_are_not_there_refuse_the_job(
    house: House, fields: dict[str, object], told: str
) -> None:
    (house.root / "models" / "wildcards").mkdir(parents=True)
    (house.root / "models" / "wildcards" / "colour.txt").write_text("red")
    (house.root / "models" / "wildcards" / "deep.txt").write_text("{a {b __missing__|c __missing__}|__missing__}")
    (house.root / "styles.csv").write_text("name,prompt,negative_prompt\nInk,ink,\nWild,__nowhere__,")
    runtime = house.open()
    with pytest.raises(NotFound) as refused:
        runtime.jobs.submit(txt2img(**fields), "local")
    assert told in str(refused.value)
    taken = txt2img(prompt="{__colour__|b} __colour__", styles=("Ink",), hr_prompt="__nothing__")
    assert finish(runtime, runtime.jobs.submit(taken, "local")).state == "done"


def test_choices_that_cannot_be_made_refuse_the_job_that_comes_to_them(house: House) -> None:
    folder, files = (
        house.root / "models" / "wildcards",
        {"one": "{a __two__|b __two__}", "two": "__one__", "empty": "#"},
    )
    folder.mkdir(parents=True)
    for name, text in {**files, "rare": "a\n__gone__"}.items():
        (folder / f"{name}.txt").write_text(text)
    runtime = house.open()
    for prompt, told in (("{a|{b|c}} __one__", "comes back to itself"), ("{__empty__|__empty__}", "has no lines")):
        with pytest.raises(BadRequest, match=told):
            runtime.jobs.submit(txt2img(prompt=prompt), "local")
    taken = [expand("__rare__", lambda name: ["a", "-"], f"prompt {seed}") for seed in range(30)]
    good, bad = taken.index("a"), taken.index("-")
    assert runtime.jobs.submit(txt2img(prompt="__rare__", seed=good), "local")
    with pytest.raises(NotFound, match="gone"):
        runtime.jobs.submit(txt2img(prompt="__rare__", seed=bad), "local")
    with pytest.raises(NotFound, match="gone"):
        runtime.jobs.submit(txt2img(prompt="__rare__", seed=good, n_iter=bad + 30 - good), "local")


def test_an_engine_too_busy_to_report_is_told_of_as_it_was_last(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, report = engine_of(runtime), {"id": "sketch", "state": "active"}
    answers: list[Future[Answered]] = [Future(), Future(), Future()]
    busy = answers[1]
    answers[0].set_result((Answer(body={"extensions": [report]}), ()))
    answers[2].set_exception(EngineDied("The engine is gone."))
    monkeypatch.setattr(questions, "LONGEST_REPORT", 0.01)
    monkeypatch.setattr(engine, "ask", lambda *_given: answers.pop(0))
    assert [runtime.questions.report() for _ in range(3)] == [[report], [report], []]
    assert busy.cancelled()


def test_an_extension_that_failed_is_told_of_while_the_engine_starts_again(runtime: Runtime) -> None:
    engine = engine_of(runtime)
    engine.ready, engine.faults = False, {"sketch": "left something behind"}
    assert runtime.questions.report() == [{"id": "sketch", "state": "failed", "reason": "left something behind"}]
