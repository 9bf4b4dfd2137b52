"""Segmentation: ADE20K's colours, and the real loading code on tiny networks, judged by transformers' own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import OneFormerImageProcessorPil, SegformerImageProcessorPil
from transformers.models.oneformer import image_processing_pil_oneformer

from tests.extensions.support import cloud, context, module, run
from tests.extensions.tiny import write_oneformer, write_upernet
from webui.prompt.tokenize import Tokenizer

PICTURE = cloud(60, 83)
# ControlNet's own table for its first classes (github.com/lllyasviel/ControlNet), and some from the rest of the list
SOME = {
    "wall": (120, 120, 120), "building": (180, 120, 120), "sky": (6, 230, 230), "floor": (80, 50, 50),
    "tree": (4, 200, 3), "ceiling": (120, 120, 80), "road": (140, 140, 140), "bed": (204, 5, 255),
    "windowpane": (230, 230, 230), "grass": (4, 250, 7), "cabinet": (224, 5, 255), "sidewalk": (235, 255, 7),
    "person": (150, 5, 61), "car": (0, 102, 200), "sea": (9, 7, 230), "river": (11, 200, 200), "flag": (92, 0, 255),
}  # fmt: skip


def test_every_class_of_ade20k_has_a_name_and_a_colour():
    with module("segmentation", "ade20k") as table:
        names, colours = table.NAMES, table.COLOURS
    assert len(names) == len(set(names)) == 150
    assert colours.shape == (150, 3)
    assert colours.dtype == np.uint8
    assert {name: tuple(colours[names.index(name)].tolist()) for name in SOME} == SOME
    assert names.index("person") == 12
    assert names[-1] == "flag"
    assert tuple(colours[6]) == tuple(colours[48])  # road and skyscraper share a grey, as in the original
    assert len({tuple(colour) for colour in colours.tolist()}) == 149


def test_the_classes_of_a_picture_come_along_with_their_shares():
    classes = np.array([[2, 2, 2, 12], [2, 2, 2, 149]])
    with module("segmentation") as main:
        found = main.paint(classes)
    assert found.image[0, 3].tolist() == [150, 5, 61]
    assert found.image.dtype == np.uint8
    assert found.data["classes"] == [
        {"name": "sky", "colour": "#06e6e6", "share": 0.75},
        {"name": "person", "colour": "#96053d", "share": 0.125},
        {"name": "flag", "colour": "#5c00ff", "share": 0.125},
    ]


def painted(classes: np.ndarray) -> np.ndarray:
    with module("segmentation", "ade20k") as table:
        return table.COLOURS[classes]


def test_upernet_is_what_transformers_makes_of_the_same_network(tmp_path: Path):
    network = write_upernet(tmp_path)
    processor = SegformerImageProcessorPil.from_pretrained(tmp_path)
    with torch.no_grad():
        output = network(**processor(PICTURE, return_tensors="pt"))
    second = processor.post_process_semantic_segmentation(output, [PICTURE.shape[:2]])[0].numpy()
    assert len(np.unique(second)) > 1
    found = run("segmentation", PICTURE, context({"upernet_convnext_small": tmp_path}), as_="seg_ufade20k")
    assert np.array_equal(found.image, painted(second))


def test_oneformer_is_what_transformers_makes_of_the_same_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_given: object, **_named: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(image_processing_pil_oneformer, "hf_hub_download", refuse)
    network = write_oneformer(tmp_path)
    processor = OneFormerImageProcessorPil.from_pretrained(tmp_path, class_info_file=None)
    pixels = processor(PICTURE, task_inputs=["semantic"], return_tensors="pt")["pixel_values"]
    words = [49406, *Tokenizer.clip().encode("the task is semantic"), 49407]
    with torch.no_grad():
        output = network(pixel_values=pixels, task_inputs=torch.tensor([words + [0] * (77 - len(words))]))
    second = processor.post_process_semantic_segmentation(output, return_segmentation_scores=True)[0]
    seen: list[torch.Tensor] = []
    ctx = context({"oneformer_ade20k_swin_large": tmp_path})
    with module("segmentation", "networks") as networks:
        winners = networks._winners
        monkeypatch.setattr(networks, "_winners", lambda votes, image: (seen.append(votes), winners(votes, image))[1])
        classes = networks.oneformer(PICTURE, "oneformer_ade20k_swin_large", ctx)
    assert second.segmentation_scores.std() > 0.001
    assert torch.allclose(seen[0][0], second.segmentation_scores, atol=1e-5)
    assert np.array_equal(run("segmentation", PICTURE, ctx, as_="seg_ofade20k").image, painted(classes))


def test_a_network_of_other_classes_is_refused(tmp_path: Path):
    write_upernet(tmp_path, classes=19)
    with pytest.raises(ValueError, match="19 classes, ADE20K 150"):
        run("segmentation", PICTURE, context({"upernet_convnext_small": tmp_path}), as_="seg_ufade20k")
