"""Measures control nets of Toybox on 100 held-out scenes each: `python -m models.toybox.evaluate_control`.

Each scene is rendered, its map and its prompt go to the model, and what is seen in the drawn picture is held against
the scene. Beside it stands the same measure of pictures of the same prompt and seed without control, and that of the
rendered scene itself, passed through the autoencoder: what the measuring networks make of a perfect picture.
"""

import argparse
import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from models.toybox.config import PICTURE_SIZE, UNET_CONFIG, Runs
from models.toybox.control_exam import Exam, Pixels, edges_of, exam, hints_of
from models.toybox.data import HELD_OUT
from models.toybox.estimators import depth_of, joints_of
from models.toybox.evaluate import judged
from models.toybox.export import CHECKPOINT
from models.toybox.hints import KINDS, nearness, places
from models.toybox.judges import Judges
from models.toybox.lessons import autoencoded
from models.toybox.sample import Model, grid, load_model
from models.toybox.train_control import FOLDER, export
from models.toybox.train_judges import trained_judges
from models.toybox.world import KEYPOINTS, PersonWords, scene_of
from webui.checkpoints.control import detect_control
from webui.checkpoints.header import read_header
from webui.control.adapters import Base
from webui.control.networks import load_controlnet
from webui.nn.controlnet import ControlNet
from webui.nn.taps import Controls

Floats = NDArray[np.float32]
REACH = 2.0
"""How far apart two edges may be and still be the same, in pixels."""
NEAR_JOINT = 0.1
"""How far off a joint may be, in parts of the body's height."""
COLOURS = ("object colour", "shirt colour", "pants colour")
MEAN_OF = 300
"""Scenes whose mean is the depth that is known without looking."""


def read_net(kind: str, folder: Path) -> ControlNet:
    """The net of this kind in a folder of control nets, or the one that the folder of a run holds so far."""
    checkpoint = Runs(folder).control(kind)
    if not checkpoint.exists():
        return load_net(folder / f"toybox-{kind}.safetensors")
    with tempfile.TemporaryDirectory() as made:
        export(kind, checkpoint, Path(made) / "run.safetensors")
        return load_net(Path(made) / "run.safetensors")


def load_net(path: Path) -> ControlNet:
    """The control net of a file, as the web UI reads it."""
    info = detect_control(read_header(path), path.name)
    base = Base("toybox", UNET_CONFIG, {}, torch.float32)
    return load_controlnet(load_file(path), info, base, torch.device("cpu"))


def steering(net: ControlNet, hints: Tensor) -> Callable[[Tensor, Tensor, Tensor], Controls]:
    """Control of weight 1 all along the way. hints: (b 3 h w) in 0..1."""

    def steer(rows: Tensor, timesteps: Tensor, context: Tensor) -> Controls:
        skips, middle = net(rows, hints.repeat(2, 1, 1, 1), timesteps, context)
        return Controls(skips, middle)

    return steer


def drawn(model: Model, questions: Exam, net: ControlNet | None, hints: Pixels, batch: int = 25) -> Tensor:
    """A picture of each scene (n 3 h w) in -1..1, with or without control; the seeds are the same."""
    maps, parts = torch.from_numpy(hints).permute(0, 3, 1, 2).float() / 255, []
    for start in range(0, len(hints), batch):
        steer = steering(net, maps[start : start + batch]) if net else None
        parts.append(model.draw(questions.captions[start : start + batch], start, steer=steer))
    return torch.cat(parts)


# --- measures: pictures (n 3 h w) in -1..1 -> figures by name ---

Figures = dict[str, float]


def edge_figures(questions: Exam, pictures: Tensor) -> Figures:
    """F1 of the edges, the mean over the pictures."""
    wanted = [edges_of(rendering.image)[..., 0] > 0 for rendering in questions.renderings]
    seen = [edges_of(image)[..., 0] > 0 for image in pixels_of(pictures)]
    return {"edges within 2 px, F1": float(np.mean([f1(*pair) for pair in zip(seen, wanted, strict=True)]))}


def f1(seen: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    """Harmonic mean of the shares of edges seen that are wanted, and of edges wanted that are seen: both (h w)."""
    precision, recall = _share_near(seen, wanted), _share_near(wanted, seen)
    return 2 * precision * recall / max(precision + recall, 1e-9)


def _share_near(edges: NDArray[np.bool_], others: NDArray[np.bool_]) -> float:
    """The share of edges that have another one within reach."""
    if not edges.any() or not others.any():
        return float(edges.any() == others.any())
    distance = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((distance[edges] <= REACH).mean())


def depth_figures(questions: Exam, pictures: Tensor) -> Figures:
    """Correlation of estimated with true depth over the pixels of the objects of all scenes, less the world's mean."""
    usual = usual_depth()
    seen = depth_of(pictures).float().numpy() - usual
    wanted = np.stack([nearness(scene) for scene in questions.scenes]) / np.float32(255) - usual
    inside = np.stack([rendering.owner >= 0 for rendering in questions.renderings])
    return {
        "correlation inside the objects, less the world's mean": float(np.corrcoef(seen[inside], wanted[inside])[0, 1])
    }


def usual_depth() -> Floats:
    """The mean depth map of the world (s s), near 1: it already tells most of any scene's depth."""
    maps = [nearness(scene_of(HELD_OUT + 1000 + number)) for number in range(MEAN_OF)]
    return (np.mean(maps, 0) / 255).astype(np.float32)


def pose_figures(questions: Exam, pictures: Tensor) -> Figures:
    """Joints where they should be; those of a person who is not seen are not."""
    marks = [
        np.zeros(len(KEYPOINTS), bool) if seen is None else joints_near(seen[:, :2], places(scene) * PICTURE_SIZE)
        for seen, scene in zip(joints_of(pictures), questions.scenes, strict=True)
    ]
    return {"joints within 10 % of the body's height": float(100 * np.mean(marks))}


def joints_near(seen: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of 18 joints (18 2) are within reach of their places; the height is that from the highest to the lowest."""
    height = np.ptp(wanted[:, 1])
    near: NDArray[np.bool_] = np.linalg.norm(seen - wanted, axis=1) <= NEAR_JOINT * height
    return near


def colour_figures(questions: Exam, pictures: Tensor, judges: Judges) -> Figures:
    """Colours of the prompt that are right, of single things and persons; and of all of them together."""
    alone = questions.alone
    asked = [questions.facts[index] for index in alone]
    found = judged(judges, asked, pictures[alone])
    people = sum(isinstance(facts.subjects[0], PersonWords) for facts in asked)
    counts = {name: len(asked) - people if name == "object colour" else people for name in COLOURS if name in found}
    right = sum(found[name] * count for name, count in counts.items())
    return {name: found[name] for name in counts} | {"all colours": right / sum(counts.values())}


def pixels_of(pictures: Tensor) -> Iterable[Pixels]:
    """(n 3 h w) in -1..1 -> pictures (h w 3)."""
    yield from ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def measures(kind: str, runs: Runs, model: Model) -> list[Callable[[Exam, Tensor], Figures]]:
    """What is measured of a kind of control."""
    shape = {"canny": edge_figures, "depth": depth_figures, "pose": pose_figures}[kind]
    return [shape, partial(colour_figures, judges=trained_judges(runs, model.loaded.vae))]


def table(kind: str, columns: Sequence[Figures]) -> list[str]:
    """Lines of Markdown."""
    shown = [
        [f"{column[name]:.2f}" if column[name] <= 1 else f"{column[name]:.0f} %" for column in columns]
        for name in columns[0]
    ]
    return [f"| {kind}: {name} | " + " | ".join(row) + " |" for name, row in zip(columns[0], shown, strict=True)]


def main() -> None:
    """Prints the table of the model card, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", type=Path, nargs="?", default=FOLDER, help="folder of control nets, or of a run")
    parser.add_argument("--runs", type=Path, default=Runs().root, help="where the judges are kept")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--grid", type=Path, help="also writes maps and pictures of the first scenes here, as PNG")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    model = load_model(CHECKPOINT)
    print("| | with control | same prompts and seeds without | perfect pictures |\n|---|---|---|---|")
    for kind in options.kinds:
        questions = exam(kind, options.count)
        hints = hints_of(kind, questions)
        steered = drawn(model, questions, read_net(kind, options.nets), hints)
        columns = (steered, drawn(model, questions, None, hints), autoencoded(model.loaded.vae, questions.pictures))
        asked = measures(kind, Runs(options.runs), model)
        figures = [
            {name: value for measure in asked for name, value in measure(questions, seen).items()} for seen in columns
        ]
        print("\n".join(table(kind, figures)))
        if options.grid:
            maps = torch.from_numpy(hints).permute(0, 3, 1, 2) / 127.5 - 1
            rows = torch.cat([part[:20] for part in (maps, *columns)])
            grid(rows, 20).save(options.grid.with_stem(f"{options.grid.stem}-{kind}"))


if __name__ == "__main__":
    main()
