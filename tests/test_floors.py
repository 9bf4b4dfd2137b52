"""A module imports only from lower floors, and each library stays where it belongs (docs/architecture.md)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOORS = (
    ("schema",),
    ("nn", "diffusion", "images", "fetch"),
    ("prompt",),  # words become the numbers that nn's encoders give and diffusion's denoiser takes
    ("checkpoints",),
    ("networks",),
    ("modelfiles",),
    ("control",),
    ("ext",),
    ("pipeline",),
    ("engine",),
    ("runtime",),
    ("ui", "api"),
    ("server", "cli", "cli_control", "cli_model_files", "cli_models", "cli_parser", "__main__"),
)
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}
# What the web process may use of the engine.
ENGINE_WITHOUT_TORCH = {"handed", "interface", "client", "questions", "spawn", "supervisor", "wire", "watchdog"}
# What the web process may use of extensions: their code never runs there.
EXT_WITHOUT_TORCH = {
    "bundled", "check", "command", "discover", "hooks", "install", "manifest", "needs", "order", "params",
    "report", "state", "sync", "weights",
}  # fmt: skip
# Parts that may import a library; every other library but these is free for all.
HOMES = {
    "torch": {"nn", "diffusion", "prompt", "checkpoints", "networks", "control", "ext", "pipeline", "engine"},
    "gradio": {"ui", "server"},
    "fastapi": {"api", "server"},
    "starlette": {"api", "server"},
    "uvicorn": {"server"},
    "httpx": {"server"},
    "transformers": {"nn", "prompt", "engine"},
    "diffusers": set(),
    "k_diffusion": set(),
    "pickle": {"checkpoints"},  # one module of it, see test_quality
    "requests": set(),
    "huggingface_hub": {"fetch"},
}
# These need nothing but torch and numpy.
PLAIN = {"nn": {"torch", "numpy", "transformers"}, "diffusion": {"torch", "numpy"}, "schema": {"pydantic", "PIL"}}
STANDARD = sys.stdlib_module_names


@cache
def modules() -> list[tuple[str, Path, ast.Module]]:
    """(part, file, tree) of every module of the program."""
    files = [path for path in sorted((ROOT / "webui").rglob("*.py")) if path != ROOT / "webui" / "__init__.py"]
    return [(_part(path), path, ast.parse(path.read_text(encoding="utf-8"))) for path in files]


def _part(path: Path) -> str:
    return path.relative_to(ROOT / "webui").parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of all modules that are imported anywhere in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(name: str) -> str | None:
    """ "webui.nn.unet" -> "nn"; None for other packages, and for the package itself."""
    steps = name.split(".")
    return steps[1] if steps[0] == "webui" and len(steps) > 1 and steps[1] in FLOOR else None


def test_every_part_has_a_floor():
    assert {part for part, _path, _tree in modules()} <= set(FLOOR)


def test_a_module_imports_only_from_lower_floors_or_its_own_part():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for part, path, tree in modules()
        for name in imports(tree)
        if (other := part_of(name)) is not None and other != part and FLOOR[other] >= FLOOR[part]
        and part not in FLOORS[-1]
    ]  # fmt: skip
    assert wrong == []


def test_above_the_engine_only_its_part_without_torch_is_used():
    allowed = {f"webui.engine.{name}" for name in ENGINE_WITHOUT_TORCH}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for part, path, tree in modules()
        for name in imports(tree)
        if FLOOR[part] > FLOOR["engine"] and name.startswith("webui.engine.")
        and ".".join(name.split(".")[:3]) not in allowed
    ]  # fmt: skip
    assert wrong == []


def test_above_the_engine_extensions_are_known_by_their_manifests_alone():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for part, path, tree in modules()
        for name in imports(tree)
        if FLOOR[part] > FLOOR["engine"] and name.startswith("webui.ext.")
        and name.split(".")[2] not in EXT_WITHOUT_TORCH
    ]  # fmt: skip
    assert wrong == []


def test_the_runtime_knows_an_engine_only_by_its_interface():
    found = {name for part, _path, tree in modules() if part == "runtime" for name in imports(tree)}
    assert {name for name in found if name.startswith("webui.engine.")} <= {
        "webui.engine.interface", "webui.engine.interface.Answered", "webui.engine.interface.EngineFactory",
        "webui.engine.interface.EngineLike",
    }  # fmt: skip


def test_each_library_stays_where_it_belongs():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for part, path, tree in modules()
        for name in imports(tree)
        if (home := HOMES.get(name.split(".")[0])) is not None and part not in home
    ]
    assert wrong == []


def test_the_plain_parts_need_nothing_more():
    for part, path, tree in modules():
        if part in PLAIN:
            libraries = {name.split(".")[0] for name in imports(tree)} - STANDARD - {"webui"}
            assert libraries <= PLAIN[part], path


def test_networks_and_diffusion_do_not_know_each_other():
    known = {(part, part_of(name)) for part, _path, tree in modules() for name in imports(tree)}
    assert ("nn", "diffusion") not in known
    assert ("diffusion", "nn") not in known


def test_only_the_default_models_name_knows_the_model_that_ships():
    wrong = {
        str(path.relative_to(ROOT / "webui"))
        for _part, path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.lower() == "toybox"
    }
    assert wrong == {"schema/resolve.py"}
