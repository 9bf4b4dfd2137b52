"""Control units over HTTP."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.api.test_native import finish, png, problem, submit
from webui.runtime.runtime import Runtime


def hand_in(one: TestClient, size: tuple[int, int] = (32, 24)) -> dict[str, str]:
    return dict(one.post("/api/v1/images", content=png(size)).json())


def test_types_models_and_preprocessors_are_listed(one: TestClient):
    types = one.get("/api/v1/control/types").json()["types"]
    assert list(types) == ["All", "Canny"]
    (model,) = one.get("/api/v1/control/models").json()["models"]
    assert (model["name"], model["kind"], model["error"]) == ("tiny-canny", "ControlNet", "")
    (made,) = one.get("/api/v1/control/preprocessors").json()["preprocessors"]
    assert (made["id"], made["extension"], made["kind"], made["resolution"]) == ("lines", "sketch", "edges", 512)
    assert [param["id"] for param in made["params"]] == ["low", "high", "thick"]
    assert (made["uses"], made["missing"]) == ([], [])
    everything = one.get("/api/v1/control").json()
    assert set(everything) == {"fields", "max_units", "types", "models", "preprocessors"}
    fields = {field["id"]: field for field in everything["fields"]}
    assert (fields["weight"]["min"], fields["weight"]["max"], fields["weight"]["default"]) == (0, 2, 1)
    assert fields["mode"]["choices"][0] == "Balanced"


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_map_is_made_of_a_picture(one: TestClient, as_bytes: bool):
    image = base64.b64encode(png()).decode() if as_bytes else hand_in(one)
    answer = one.post("/api/v1/preprocess", json={"id": "lines", "image": image, "params": {"low": 20}})
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert (made["width"], made["height"]) == (32, 24)
    picture = one.get(f"/api/v1/inputs/{made['image']['sha256']}.png")
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).getpixel((0, 0)) == (0, 255, 255)


def test_what_the_model_sees_has_the_size_of_the_picture_that_is_drawn(one: TestClient):
    unit = {"preprocessor": "lines", "model": "tiny-canny"}
    sizes = {}
    for name, given in {
        "asked": {"width": 80, "height": 48}, "like": {"like": hand_in(one, (50, 30))}, "model": {},
    }.items():  # fmt: skip
        body = {"unit": unit, "image": hand_in(one), "fit": True, **given}
        made = one.post("/api/v1/preprocess", json=body).json()
        sizes[name] = (made["width"], made["height"])
    assert sizes == {"asked": (80, 48), "like": (50, 30), "model": (64, 64)}


def test_a_question_may_tell_the_request_that_the_unit_is_for(one: TestClient, runtime: Runtime):
    first, mask = hand_in(one, (50, 30)), hand_in(one, (50, 30))
    tab = {"kind": "inpaint", "init_image": first, "mask": mask, "resize_mode": "Resize and fill", "seed": 9}
    body = {"unit": {"preprocessor": "lines"}, "tab": tab, "fit": True}
    made = one.post("/api/v1/preprocess", json=body).json()
    assert (made["width"], made["height"], made["masked"]) == (50, 30, False)
    asked = runtime.engine.asked[-1][1]  # type: ignore[attr-defined]
    assert (asked["tab"]["resize_mode"], asked["tab"]["mask"], asked["image"]) == ("Resize and fill", mask, None)
    assert (asked["width"], asked["height"], asked["seed"]) == (50, 30, 9)
    made = one.post("/api/v1/preprocess", json={**body, "tab": {**tab, "width": 80}, "height": 48}).json()
    assert (made["width"], made["height"]) == (80, 48)


def test_a_unit_of_txt2img_without_a_picture_has_none_to_look_at(one: TestClient):
    body = {"unit": {"preprocessor": "lines"}, "tab": {"kind": "txt2img"}}
    assert problem(one.post("/api/v1/preprocess", json=body), 422)["message"] == "There is no picture to make a map of."
    body["unit"] = {"preprocessor": "lines", "image": hand_in(one)}
    assert one.post("/api/v1/preprocess", json=body).json()["width"] == 32


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"tab": {"kind": "img2img"}}, 422, "init_image: Field required"),
        ({"tab": {"kind": "txt2img", "resize_mode": "x"}}, 422, "unknown field 'resize_mode'"),
        ({"id": "away"}, 422, "There is no preprocessor 'away'."),
        ({"id": "lines", "params": {"low": 900}}, 422, 'The parameter "low" is 900'),
        ({"id": "lines", "params": {"low": 13}}, 500, "The preprocessor fails at 13."),
        ({"id": "lines", "image": "!!"}, 422, "The picture is no base64."),
        ({"id": "lines", "image": {"sha256": "0" * 64}}, 404, "A picture of this request is not there."),
        ({"id": "lines", "resolution": 8}, 422, "resolution"),
        ({"idd": "lines"}, 422, "idd"),
    ],
)
def test_what_cannot_become_a_map_is_told(one: TestClient, body: dict, status: int, told: str):
    answer = one.post("/api/v1/preprocess", json={"image": hand_in(one), **body})
    assert told in problem(answer, status)["message"]


@pytest.mark.parametrize("name", ["0" * 64, "x", "..%2f..%2fatelier", "A" * 64])
def test_other_files_are_not_shown_as_pictures(one: TestClient, name: str):
    assert one.get(f"/api/v1/inputs/{name}.png").status_code == 404


def test_units_and_extensions_come_back_from_the_picture(one: TestClient, runtime: Runtime):
    unit = {"image": hand_in(one), "preprocessor": "lines", "model": "tiny-canny", "params": {"low": 7}, "weight": 0.5}
    view = finish(one, submit(one, control=[unit], ext={"sketch": {"ink": "blue"}}))
    assert view["state"] == "done", view["error"]
    (report,) = view["units"]
    assert report["ratios"][0] == pytest.approx(0.15)
    assert [kept["unit"] for kept in view["maps"]] == [1]
    saved = one.get(f"/api/v1/images/{view['images'][0]['id']}.png").content
    told = one.post("/api/v1/png-info", content=saved).json()
    assert 'ControlNet 0: "Module: lines, ' in told["infotext"]
    assert told["fields"]["control"] == view["request"]["control"]
    assert told["fields"]["ext"] == view["request"]["ext"]
    assert told["notes"] == []


def test_values_of_an_extension_that_is_off_go_on_in_new_pictures_and_count_again_when_it_is_on(
    one: TestClient, runtime: Runtime
):
    first = finish(one, submit(one, ext={"sketch": {"ink": "blue"}}))
    values = first["request"]["ext"]
    runtime.extensions.disable("sketch")
    told = read_picture(one, first)
    assert (told["fields"]["ext"], told["fields"]["absent_ext"]) == ({}, values)
    assert told["notes"] == [
        "The extension 'sketch' is not there or switched off: its values are kept, without effect."
    ]
    second = finish(one, submit(one, **taken(told)))
    assert (second["request"]["ext"], second["request"]["absent_ext"]) == ({}, values)
    again = read_picture(one, second)["fields"]
    assert (again["ext"], again["absent_ext"]) == ({}, values)
    runtime.extensions.enable("sketch", allow=True)
    told = read_picture(one, second)
    assert (told["fields"]["ext"], told["fields"]["absent_ext"], told["notes"]) == (values, {}, [])
    third = finish(one, submit(one, **taken(told)))
    assert (third["request"]["ext"], third["request"]["absent_ext"]) == (values, {})


def test_values_of_an_extension_that_does_not_run_stay_refused_where_they_are_to_act(one: TestClient):
    values = {"away": {"colour": "red"}}
    answer = one.post("/api/v1/jobs", json={"kind": "txt2img", "ext": values})
    assert "There is no extension 'away'" in problem(answer, 422)["message"]
    view = finish(one, submit(one, absent_ext=values))
    assert (view["state"], view["request"]["absent_ext"]) == ("done", values)


def test_values_of_an_extension_that_runs_but_is_named_as_absent_are_written_back_as_they_are(one: TestClient):
    view = finish(one, submit(one, absent_ext={"sketch": {"strength": 99}}))
    assert (view["state"], view["request"]["ext"]) == ("done", {})
    told = read_picture(one, view)["fields"]
    assert (told["ext"], told["absent_ext"]) == ({"sketch": {"strength": 99}}, {})


def read_picture(one: TestClient, view: dict[str, Any]) -> dict[str, Any]:
    """What /png-info tells of the first picture of a job."""
    saved = one.get(f"/api/v1/images/{view['images'][0]['id']}.png").content
    return one.post("/api/v1/png-info", content=saved).json()


def taken(told: dict[str, Any]) -> dict[str, Any]:
    """The fields of a picture's text as those of a request."""
    return {name: told["fields"][name] for name in ("prompt", "seed", "control", "ext", "absent_ext")}


def test_a_unit_that_cannot_act_refuses_the_job(one: TestClient):
    body = {"kind": "txt2img", "control": [{"preprocessor": "lines", "model": "tiny-canny"}]}
    assert problem(one.post("/api/v1/jobs", json=body), 422)["message"] == "Control unit 1, image: there is none."
    body = {"kind": "txt2img", "control": [{"start": 0.5, "end": 0.2}]}
    assert "end 0.2 is before start 0.5" in problem(one.post("/api/v1/jobs", json=body), 422)["message"]
