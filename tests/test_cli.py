"""The command line without a server: options are drawn from the requests, mistakes cost one line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import webui
from webui import cli
from webui.checkpoints.places import Places
from webui.cli_control import extensions_of
from webui.ext.discover import HOME
from webui.images.infotext import texts_for
from webui.schema.errors import OutOfMemory
from webui.schema.events import Progress
from webui.schema.fields import parameters
from webui.schema.memory import MemoryOptions
from webui.schema.requests import REQUESTS, ImageRef, Request
from webui.schema.resolve import resolve
from webui.schema.results import ModelInfo
from webui.server.options import ROOT


class Made:
    def __init__(self, images: list[Any], notes: tuple[str, ...]) -> None:
        self.images = images
        self.notes = notes


class MadeImage:
    def __init__(self, request: Request, index: int) -> None:
        model = ModelInfo(name="grey", file="grey.safetensors")
        self.seed = request.seed + index
        self.image = Image.new("RGB", (request.width or 64, request.height or 64), "grey")
        self.texts = texts_for(resolve(request, model="grey", native_size=64), model, self.seed, 0)


class GreyPipeline:
    """Draws grey. Remembers how it was loaded and asked."""

    def __init__(self) -> None:
        self.loaded: list[tuple[str, dict[str, Any]]] = []
        self.requests: list[Request] = []
        self.pictures: list[bytes] = []

    def load(self, name: str = "", **options: Any) -> GreyPipeline:
        self.loaded.append((name, options))
        return self

    def add_image(self, data: bytes) -> ImageRef:
        self.pictures.append(data)
        return ImageRef(sha256=hashlib.sha256(data).hexdigest())

    def generate(self, request: Request, progress: Callable[[Any], Any] | None = None) -> Made:
        self.requests.append(request)
        if request.prompt == "too much":
            raise OutOfMemory("The device has not enough memory.", "Make the picture smaller.")
        if progress is not None:
            progress(Progress(job_id="x", step=1, steps=1, image=0, images=1, fraction=1.0))
        count = request.n_iter * request.batch_size
        notes = ("A note.",) if "note" in request.prompt else ()
        return Made([MadeImage(request, index) for index in range(count)], notes)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> GreyPipeline:
    one = GreyPipeline()
    monkeypatch.setattr(webui, "Pipeline", one, raising=False)
    return one


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (40, 30), "red").save(path)
    return path


def generate(*options: str | Path) -> int:
    return cli.main(["generate", *map(str, options)])


def test_pictures_are_written_and_their_paths_printed(pipeline: GreyPipeline, tmp_path: Path, capsys: Any):
    code = generate("--prompt", "a ball", "--seed", "7", "--batch-size", "2", "--output", tmp_path / "out")
    assert code == 0
    paths = [tmp_path / "out" / "00000-7.png", tmp_path / "out" / "00001-8.png"]
    assert capsys.readouterr().out == "".join(f"{path}\n" for path in paths)
    with Image.open(paths[1]) as image:
        assert image.text["parameters"].startswith("a ball\nSteps: 20,")  # type: ignore[attr-defined]
        assert "Seed: 8" in image.text["parameters"]  # type: ignore[attr-defined]


def test_without_a_folder_they_go_where_the_page_puts_them(pipeline: GreyPipeline, tmp_path: Path, capsys: Any):
    assert generate("--output-dir", tmp_path) == 0
    (path,) = tmp_path.rglob("*.png")
    assert path.relative_to(tmp_path).parts[0] == "txt2img-images"


def test_every_field_of_every_request_is_an_option(pipeline: GreyPipeline, picture: Path, tmp_path: Path):
    fields = {declaration.name for model in REQUESTS.values() for declaration in parameters(model)}
    options = {action.dest for action in cli._generate_parser(extensions_of([]))._actions}
    assert fields <= options


def test_options_become_the_request(pipeline: GreyPipeline, tmp_path: Path):
    options = [
        "--prompt", "a ball", "--negative-prompt", "blur", "--seed", "3", "--steps", "9", "--sampler", "euler_a",
        "--scheduler", "karras", "--cfg-scale", "4.5", "--width", "96", "--height", "64", "--n-iter", "2", "--model",
        "grey", "--enable-hr", "--hr-scale", "1.5", "--output", tmp_path,
    ]  # fmt: skip
    assert generate(*options) == 0
    (request,) = pipeline.requests
    given = request.model_dump(exclude_unset=True)
    assert given == {
        "kind": "txt2img", "prompt": "a ball", "negative_prompt": "blur", "seed": 3, "steps": 9, "sampler": "Euler a",
        "scheduler": "Karras", "cfg_scale": 4.5, "width": 96, "height": 64, "n_iter": 2, "model": "grey",
        "enable_hr": True, "hr_scale": 1.5,
    }  # fmt: skip
    assert pipeline.loaded[0][0] == "grey"


def test_a_picture_means_img2img_and_a_mask_inpaint(pipeline: GreyPipeline, picture: Path, tmp_path: Path):
    sha256 = hashlib.sha256(picture.read_bytes()).hexdigest()
    assert generate("--init-image", picture, "--denoising-strength", "0.4", "--output", tmp_path / "out") == 0
    assert generate("--init-image", picture, "--mask", picture, "--mask-blur", "2", "--output", tmp_path / "out") == 0
    first, second = pipeline.requests
    assert (first.kind, first.denoising_strength, first.image_refs) == ("img2img", 0.4, (ImageRef(sha256=sha256),))
    assert (second.kind, len(second.image_refs)) == ("inpaint", 2)
    assert set(pipeline.pictures) == {picture.read_bytes()}


def test_device_and_folders_reach_the_pipeline(pipeline: GreyPipeline, tmp_path: Path):
    generate(
        "--device", "cpu", "--dtype", "float32", "--medvram", "--models-dir", tmp_path, "--output", tmp_path / "out"
    )
    (name, options), *_rest = pipeline.loaded
    assert name == ""
    given: dict[str, Any] = {"models_dir": Places(tmp_path), "device": "cpu", "dtype": "float32"}
    given |= {"unet_storage": "auto", "memory": MemoryOptions("med")}
    assert options == {**given, "extensions_dirs": (HOME,), "data_dir": ROOT / "data"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--steps", "0"], "Sampling steps: Input should be greater than or equal to 1 (got 0)"),
        (["--sampler", "eulr"], "Sampling method: unknown sampler 'eulr'; choose one of:"),
        (["--mask-blur", "3"], "--mask-blur means nothing to txt2img. It belongs to inpaint."),
        (["--resize-mode", "x"], "--resize-mode means nothing to txt2img. It belongs to img2img and inpaint."),
        (["--mask", "picture.png"], "--mask needs the picture it belongs to. Give --init-image FILE."),
        (["--init-image", "nothing.png"], "nothing.png cannot be read: No such file or directory."),
        (["--init-image", "text.png"], "This is no picture that can be read"),
        (["--width", "9000"], "Width: Input should be less than or equal to"),
    ],
)
def test_a_mistake_costs_one_line_and_no_model(
    pipeline: GreyPipeline, picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, options: list[str], told: str
):
    monkeypatch.chdir(picture.parent)
    Path("text.png").write_text("no picture")
    assert generate(*options) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"launch.py: {told}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert pipeline.loaded == []


@pytest.mark.parametrize("options", [["--stepz", "3"], ["--steps", "many"], ["--steps"]])
def test_an_unknown_option_costs_one_line(options: list[str], capsys: Any):
    with pytest.raises(SystemExit) as caught:
        generate(*options)
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_job_that_fails_costs_one_line(pipeline: GreyPipeline, capsys: Any):
    assert generate("--prompt", "too much") == 1
    error = "launch.py: The device has not enough memory. Make the picture smaller.\n"
    assert capsys.readouterr().err == error


def test_notes_are_told_beside_the_paths(pipeline: GreyPipeline, tmp_path: Path, capsys: Any):
    assert generate("--prompt", "note", "--output", tmp_path) == 0
    assert capsys.readouterr().err == "Note: A note.\n"


def test_ctrl_c_ends_with_its_own_exit_code(pipeline: GreyPipeline, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "generate", stop)
    assert generate() == 130
    assert capsys.readouterr().err == "\nStopped.\n"


def test_styles_are_given_by_their_names(pipeline: GreyPipeline, tmp_path: Path):
    assert generate("--styles", "Ink", "Fine art", "--output", tmp_path) == 0
    assert generate("--output", tmp_path) == 0
    assert [request.styles for request in pipeline.requests] == [("Ink", "Fine art"), ()]


def test_help_tells_labels_bounds_and_defaults(capsys: Any):
    for arguments in (["generate", "--help"], ["--help"], ["models", "--help"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--steps N Sampling steps. More steps: slower and finer. 1 to 1000. Default: 20." in text
    assert "Default: 0.7 (txt2img), 0.75 (img2img), 0.75 (inpaint)." in text
    assert "launch.py generate, launch.py models, launch.py ext, launch.py test" in text


def test_models_are_listed_with_what_is_wrong_with_them(tmp_path: Path, capsys: Any):
    folder = tmp_path / "Stable-diffusion"
    folder.mkdir()
    (folder / "broken.safetensors").write_bytes(b"nothing")
    (folder / "coming.safetensors.part").touch()
    assert cli.main(["models", "list", "--models-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Checkpoints (models/Stable-diffusion)"
    assert lines[1].startswith("  broken  0 MB  ! broken.safetensors is a text, not a model")
    assert lines[2:] == [
        "Not listed",
        f"  {folder / 'coming.safetensors.part'}  an unfinished download: let it come to its end, or delete it",
    ]


def test_a_file_that_is_no_model_is_not_converted(tmp_path: Path, capsys: Any):
    file = tmp_path / "model.ckpt"
    file.write_bytes(b"nothing")
    assert cli.main(["models", "convert", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [file]
