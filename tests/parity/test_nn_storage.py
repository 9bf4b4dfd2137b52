"""Weights in 8 bits against diffusers' layerwise casting of the same weights."""

from __future__ import annotations

import pytest
import torch

from tests.nn.small import UNETS
from tests.nn.weights import relative_error
from tests.parity.test_nn_unet import both, inputs, our_answer, their_answer
from webui.nn.storage import FLOAT8, store_unet

KEPT = ["norm", "time_embedding", "add_embedding", "conv_in", "conv_out"]
"""What diffusers is told to leave alone: our `webui.nn.storage.KEPT` by its names."""


@pytest.mark.parametrize("family", UNETS)
@pytest.mark.parametrize("storage", FLOAT8, ids=str)
def test_a_stored_unet_agrees_with_diffusers(family: str, storage: torch.dtype) -> None:
    ours, theirs = both(UNETS[family], torch.float32)
    with torch.no_grad():
        for name, weight in ours.named_parameters():
            if name.endswith("bias"):  # diffusers rounds these as well; both have the same tensors
                weight.copy_(weight.to(storage).float())
    given = inputs(UNETS[family], torch.float32)
    exact = our_answer(ours, given)
    theirs.enable_layerwise_casting(storage, torch.float32, KEPT)
    answer = our_answer(store_unet(ours, storage), given)
    assert relative_error(answer, their_answer(theirs, given)) < 1e-5
    assert relative_error(answer, exact) > 1e-3
