"""The command line: `serve` (what happens without a command), `generate`, `models`, `ext`. Options of `generate` are
drawn from the request models, as everything else is."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import webui
from webui.cli_control import (
    Steered,
    add_folder_options,
    add_steering_options,
    extensions_of,
    read_steering,
    steering_of,
)  # fmt: skip
from webui.cli_models import models
from webui.cli_parser import PROGRAM, USER_FAULT, Parser
from webui.ext import command as extensions
from webui.runtime.extensions import Extensions
from webui.schema.errors import AtelierError, BadRequest
from webui.schema.events import Progress
from webui.schema.fields import Parameter, parameters
from webui.schema.requests import REQUESTS, ImageRef, Request, parse_request
from webui.server.memory_options import add_memory_options, memory_of
from webui.server.model_options import missing_note, places_of
from webui.server.options import ServeOptions, add_common_options, add_serve_options

COMMANDS = ("generate", "models", "ext", "test")
FAULT, STOPPED = 1, 130


def main(arguments: Sequence[str]) -> int:
    """Run a command; returns the exit code: 0, 1 (it failed), 2 (what was asked for is wrong), 130 (Ctrl-C)."""
    commands: dict[str, Callable[[Sequence[str]], int]] = {
        "serve": serve, "generate": generate, "models": models, "ext": ext,
    }  # fmt: skip
    command = commands.get(arguments[0]) if arguments else None
    try:
        return command(arguments[1:]) if command is not None else serve(arguments)
    except AtelierError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return USER_FAULT if 400 <= error.status < 500 else FAULT
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        return STOPPED


def serve(arguments: Sequence[str]) -> int:
    """The server with its page."""
    parser = Parser(
        prog=PROGRAM,
        description="Serves the page on this machine.",
        epilog=f"Further commands: {', '.join(f'{PROGRAM} {name}' for name in COMMANDS)}; each has its own --help.",
    )
    parser.add_argument("--version", action="version", version=f"Atelier {webui.__version__}")
    add_serve_options(parser)
    options = ServeOptions.of(parser.parse_args(arguments))
    from webui.server.serve import serve as run  # brings the web server, which no other command needs

    return run(options)


def generate(arguments: Sequence[str]) -> int:
    """Pictures without a server. Their paths are printed."""
    found = extensions_of(arguments)
    parsed = _generate_parser(found).parse_args(arguments)
    pictures = {name: _picture(getattr(parsed, name)) for name in ("init_image", "mask") if getattr(parsed, name)}
    steered = read_steering(parsed, found)
    places = places_of(parsed)
    _tell(filter(None, [missing_note(places)]))
    request = build_request(parsed, {name: _reference(data) for name, data in pictures.items()}, steered)
    pipeline = webui.Pipeline.load(
        request.model, models_dir=places, device=parsed.device, dtype=parsed.dtype,
        unet_storage=parsed.unet_storage,
        extensions_dirs=found.folders, data_dir=parsed.data_dir, memory=memory_of(parsed),
    )  # fmt: skip
    for data in (*pictures.values(), *steered.pictures):
        pipeline.add_image(data)
    if request.control or request.ext:
        named = request.model_copy(update={"model": pipeline.model.name})
        request, notes = steering_of(found, places).check(named)
        _tell(notes)
    made = pipeline.generate(request, _show_progress if sys.stderr.isatty() else None)
    _save(made, parsed.output or _folder(parsed.output_dir, request))
    _tell(made.notes)
    return 0


def ext(arguments: Sequence[str]) -> int:
    """Lists, checks, installs, removes and switches extensions."""
    parser = Parser(prog=f"{PROGRAM} ext", description="Extensions.")
    extensions.add_arguments(parser)
    return extensions.run(parser.parse_args(arguments))


def build_request(
    parsed: argparse.Namespace, references: dict[str, ImageRef], steered: Steered | None = None
) -> Request:
    """The request that the options describe: inpaint with a mask, img2img with a picture, else txt2img.

    Raises:
        BadRequest: names each option that is wrong, or does not go with the others.
    """
    kind = "inpaint" if "mask" in references else "img2img" if references else "txt2img"
    if kind == "inpaint" and "init_image" not in references:
        raise BadRequest("--mask needs the picture it belongs to.", "Give --init-image FILE.")
    given = {name: getattr(parsed, name) for name in declared() if getattr(parsed, name) is not None}
    foreign = [name for name in given if name not in REQUESTS[kind].model_fields]
    if foreign:
        homes = [name for name, model in REQUESTS.items() if foreign[0] in model.model_fields]
        raise BadRequest(f"{option(foreign[0])} means nothing to {kind}.", f"It belongs to {' and '.join(homes)}.")
    pictures = {name: ref.model_dump() for name, ref in references.items()}
    said = {} if steered is None else {"control": steered.control, "ext": steered.ext}
    steering = {name: values for name, values in said.items() if values}
    return parse_request({**given, **pictures, **steering, "kind": kind})


def declared() -> dict[str, dict[str, Parameter]]:
    """Field -> kind of request -> its declaration there, in the order of declaration."""
    found: dict[str, dict[str, Parameter]] = {}
    for kind, model in REQUESTS.items():
        for declaration in parameters(model):
            found.setdefault(declaration.name, {})[kind] = declaration
    return found


def option(name: str) -> str:
    """ "cfg_scale" -> "--cfg-scale"."""
    return f"--{name.replace('_', '-')}"


def _generate_parser(found: Extensions) -> Parser:
    parser = Parser(prog=f"{PROGRAM} generate", description="Makes pictures and prints their paths.")
    pictures = parser.add_argument_group("pictures")
    pictures.add_argument("--init-image", type=Path, metavar="FILE", help="start from this picture (img2img)")
    pictures.add_argument("--mask", type=Path, metavar="FILE", help="repaint where this picture is white (inpaint)")
    pictures.add_argument(
        "--output", type=Path, metavar="DIR", help="where to save (default: by kind and day below --output-dir)"
    )
    groups: dict[str, Any] = {}
    for name, kinds in declared().items():
        group = next(iter(kinds.values())).group
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        _add_option(groups[group], name, kinds)
    add_steering_options(parser, found)
    folders = parser.add_argument_group("folders and device")
    add_common_options(folders)
    add_folder_options(folders)
    add_memory_options(parser.add_argument_group("memory"))
    return parser


def _add_option(group: Any, name: str, kinds: dict[str, Parameter]) -> None:
    declaration = next(iter(kinds.values()))
    described = _describe(kinds).replace("%", "%%")
    if declaration.type is bool:
        group.add_argument(option(name), action=argparse.BooleanOptionalAction, default=None, help=described)
    elif declaration.type is tuple:
        group.add_argument(option(name), nargs="+", metavar="NAME", help=described)
    else:
        metavar = "TEXT" if declaration.type is str else "N"
        group.add_argument(option(name), type=declaration.type, metavar=metavar, help=described)


def _describe(kinds: dict[str, Parameter]) -> str:
    """Label, help, bounds, choices and default of a field; defaults that differ by kind are told apart."""
    declaration = next(iter(kinds.values()))
    parts = [f"{declaration.title}. {declaration.help}"]
    if declaration.choices:
        parts.append(f"One of: {', '.join(filter(None, declaration.choices))}.")
    if declaration.minimum is not None and declaration.maximum is not None:
        parts.append(f"{declaration.minimum:g} to {declaration.maximum:g}.")
    defaults = {kind: item.default for kind, item in kinds.items() if item.default not in (None, "", False, ())}
    if len(set(defaults.values())) == 1:
        parts.append(f"Default: {next(iter(defaults.values()))}.")
    elif defaults:
        parts.append(f"Default: {', '.join(f'{value} ({kind})' for kind, value in defaults.items())}.")
    return " ".join(parts)


def _picture(path: Path) -> bytes:
    from webui.images.read import read_image

    read_image(path)
    return path.read_bytes()


def _reference(data: bytes) -> ImageRef:
    return ImageRef(sha256=hashlib.sha256(data).hexdigest())


def _tell(notes: Iterable[str]) -> None:
    for note in notes:
        sys.stderr.write(f"Note: {note}\n")


def _show_progress(event: Any) -> None:
    if isinstance(event, Progress):
        text = f"picture {event.image + 1} of {event.images}, step {event.step} of {event.steps}"
        sys.stderr.write(f"\r{text}    " + ("\n" if event.fraction >= 1 else ""))
        sys.stderr.flush()


def _folder(output_dir: Path, request: Request) -> Path:
    from webui.runtime.outputs import FOLDERS

    return output_dir / FOLDERS[request.kind] / time.strftime("%Y-%m-%d")


def _save(made: Any, folder: Path) -> None:
    from webui.images.save import next_name, save_png

    for image in made.images:
        path = folder / next_name(folder, image.seed)
        save_png(image.image, path, image.texts)
        sys.stdout.write(f"{path}\n")
        sys.stdout.flush()
