"""What the program and its libraries do to themselves is no leak of an extension."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from webui.ext.network_guard import NetworkPrint

CODE = """
from webui.ext.guard import ProcessPrint
before = ProcessPrint.now()
from transformers import CLIPModel
from transformers.generation import continuous_batching
print(before.replaced_functions(), before.changed_settings())
"""


def test_reading_a_first_model_within_a_job_of_an_extension_is_no_leak():
    """In a fresh process: transformers brings torch's compiler, which wraps a function of torch."""
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[] []"


def test_a_control_network_may_be_moved_and_may_keep_something():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before = NetworkPrint.of((net,))
    for weight in net.parameters():
        weight.data = weight.data.clone()
    net.seen = torch.ones(2)
    net[1].running_mean.add_(1)
    net.eval()
    assert before.changes((net,)) == []
    assert before.changes((net,), sampled=False) == []


def test_what_is_another_in_a_control_network_is_told_by_its_name():
    one, two = (nn.Sequential(nn.Linear(3, 4)) for _ in range(2))
    before = NetworkPrint.of((one, two))
    one[0].forward = lambda x: x
    with torch.no_grad():
        two[0].bias.add_(1)
    patched = ["the module Sequential.0 of a control network was patched"]
    assert before.changes((one, two), sampled=False) == patched
    assert before.changes((one, two)) == [*patched, "the weight Sequential1.0.bias of a control network was changed"]
