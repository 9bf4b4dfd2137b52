"""Parts on a device, which is a mover here that makes copies and writes down what it copied."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from webui.engine.memory.estimates import Work
from webui.engine.memory.parts import Part
from webui.engine.memory.plan import Manner
from webui.engine.memory.residency import Residency
from webui.ext.testing import TinyModel
from webui.nn.config import SD15
from webui.nn.controlnet import ControlNet, ControlNetConfig
from webui.nn.streaming import Mover, weights_of
from webui.nn.unet import UNet
from webui.schema.errors import OutOfMemory

CPU = torch.device("cpu")


class Copier(Mover):
    """Copies are other tensors than the originals, as they are on another device. Homes of copies may be spoilt."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.copied = 0
        self.most = 0
        self._living: list[Tensor] = []

    def copy(self, tensor: Tensor) -> Tensor:
        self.copied += tensor.numel() * tensor.element_size()
        with torch.inference_mode(tensor.is_inference()):
            return tensor.clone(memory_format=torch.preserve_format)


class Full(RuntimeError):
    def __init__(self) -> None:
        super().__init__("DefaultCPUAllocator: can't allocate memory")


def part(name: str, group: str = "unet", numbers: int = 4) -> Part:
    return Part(name, [nn.Linear(numbers, 1, bias=False)], group)  # type: ignore[arg-type]


def places(module: nn.Module) -> list[int]:
    return [weight.data_ptr() for weight in weights_of(module)]


def bytes_of(module: nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in weights_of(module))


def small_unet() -> UNet:
    return TinyModel(1).unet


def call(unet: UNet) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x, context = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 5, 16, generator=generator)
    with torch.inference_mode():
        return unet(x, torch.tensor([500.0, 20.0]), context)


def test_weights_are_copies_while_they_are_lent_and_themselves_afterwards() -> None:
    one = part("one")
    (module,) = one.modules
    before, bits = places(module), module.weight.clone()
    residency = Residency(Copier())
    with residency.at_hand([one]):
        assert places(module) != before
        assert torch.equal(module.weight, bits)
    residency.home([one], pause=False)
    assert places(module) == before
    assert torch.equal(module.weight, bits)


def test_without_a_mover_nothing_moves() -> None:
    one = part("one")
    before = places(one.modules[0])
    residency = Residency(None, room=lambda: 0)
    residency.manner = "blocks"
    with residency.at_hand([one]):
        assert places(one.modules[0]) == before
    assert residency.here == ()


def test_a_part_that_is_there_is_not_copied_again() -> None:
    one, mover = part("one"), Copier()
    residency = Residency(mover)
    for _ in range(3):
        residency.run([one], lambda: None)
    assert mover.copied == 16


def test_the_least_recently_used_leaves_and_never_one_in_use() -> None:
    one, two, three = part("one"), part("two"), part("three")
    residency = Residency(Copier(), room=lambda: 32)
    residency.run([one], lambda: None)
    residency.run([two], lambda: None)
    residency.run([one], lambda: None)
    residency.run([three], lambda: None)
    assert [there.name for there in residency.here] == ["one", "three"]
    with residency.at_hand([one]), residency.at_hand([two]):
        assert {there.name for there in residency.here} == {"one", "two"}
        with residency.at_hand([three]):
            assert one.here
            assert two.here


def test_in_turns_a_part_of_another_group_leaves_although_there_is_room() -> None:
    text, unet, control, vae = part("text", "text"), part("unet"), part("control"), part("vae", "vae")
    residency = Residency(Copier())
    residency.manner = "turns"
    there = []
    for one in (text, unet, control, unet, vae):
        residency.run([one], lambda: there.append([part.name for part in residency.here]))
    assert there == [["text"], ["unet"], ["unet", "control"], ["control", "unet"], ["vae"]]


def test_what_is_changed_at_home_is_copied_when_the_part_comes_again_and_nothing_else() -> None:
    module = nn.Linear(4, 1)
    one, mover = Part("one", [module], "unet"), Copier()
    residency = Residency(mover)
    residency.run([one], lambda: None)
    residency.home([one])
    original = module.weight.data
    module.weight.data = original + 1
    mover.copied = 0
    seen = residency.run([one], lambda: module.weight.clone())
    assert mover.copied == 16
    assert torch.equal(seen, original + 1)
    residency.home([one])
    module.weight.data = original
    assert torch.equal(residency.run([one], lambda: module.weight.clone()), original)
    residency.home([one], pause=False)
    assert module.weight.data_ptr() == original.data_ptr()


@pytest.mark.parametrize("manner", ["together", "turns", "blocks"])
def test_a_unet_gives_the_same_bytes_in_every_manner(manner: str) -> None:
    unet = small_unet()
    plain, before = call(unet), places(unet)
    residency = Residency(Copier())
    residency.manner = manner  # type: ignore[assignment]
    one = Part("unet", [unet], "unet")
    for _ in range(2):
        assert torch.equal(residency.run([one], lambda: call(unet)), plain)
    residency.home([one], pause=False)
    assert places(unet) == before
    assert torch.equal(call(unet), plain)


def test_block_by_block_no_more_is_there_than_a_block_the_next_one_and_the_frame() -> None:
    unet = small_unet()
    homes = dict(zip(map(id, weights_of(unet)), places(unet), strict=True))
    one = Part("unet", [unet], "unet")
    residency = Residency(Copier())
    residency.manner = "blocks"
    most = []

    def look(*_: object) -> None:
        away = [weight for weight in weights_of(unet) if weight.data_ptr() != homes[id(weight)]]
        most.append(sum(weight.numel() * weight.element_size() for weight in away))

    for block in unet.blocks:
        block.register_forward_pre_hook(look)
    residency.run([one], lambda: call(unet))
    sizes = sorted(map(bytes_of, unet.blocks))
    frame = bytes_of(unet) - sum(sizes)
    assert max(most) == frame + sizes[-1]
    assert one.size.least == frame + sizes[-1] + sizes[-2]
    assert one.size.whole == bytes_of(unet)
    assert one.size.least < 0.7 * one.size.whole


def test_every_layer_of_a_streamed_unet_and_controlnet_runs_on_the_device() -> None:
    unet = small_unet()
    config = replace(
        SD15.unet, model_channels=32, channel_mult=(1, 2), num_res_blocks=1, transformer_depth=(0, 1),
        transformer_depth_middle=1, context_dim=16, norm_groups=8, num_heads=2, head_dim=None,
    )  # fmt: skip
    net = ControlNet(ControlNetConfig(config)).requires_grad_(False)
    for module in (unet, net):
        homes = set(places(module))

        def check(layer: nn.Module, _given: object, homes: set[int] = homes) -> None:
            at_home = [weight for weight in layer.parameters(recurse=False) if weight.data_ptr() in homes]
            assert at_home == [], type(layer)

        for layer in module.modules():
            layer.register_forward_pre_hook(check)
    x, context, times = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 16), torch.tensor([3.0])
    residency = Residency(Copier())
    residency.manner = "blocks"
    with torch.inference_mode():
        residency.run([Part("unet", [unet], "unet")], lambda: unet(x, times, context))
        residency.lend([net], lambda: net(x, torch.rand(1, 3, 64, 64), times, context))


def test_a_pass_that_fails_in_its_middle_leaves_no_block_behind() -> None:
    unet = small_unet()
    before = places(unet)
    residency = Residency(Copier())
    residency.manner = "blocks"
    one = Part("unet", [unet], "unet")
    fail = unet.middle_block.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        residency.run([one], lambda: call(unet))
    fail.remove()
    residency.home([one], pause=False)
    assert places(unet) == before


def test_when_memory_runs_out_the_idle_leave_and_the_work_is_done_again_in_lower_manners() -> None:
    text, unet = part("text", "text"), Part("unet", [small_unet()], "unet")
    notes: list[str] = []
    residency = Residency(Copier())
    residency.note = notes.append
    residency.run([text], lambda: None)
    seen: list[tuple[str, list[str]]] = []

    def work() -> str:
        seen.append((residency.manner, [there.name for there in residency.here]))
        if len(seen) < 3:
            raise Full
        return "done"

    assert residency.run([unet], work) == "done"
    assert seen == [("together", ["text", "unet"]), ("turns", ["unet"]), ("blocks", ["unet"])]
    assert ["take turns" in notes[0], "block by block" in notes[1], len(notes)] == [True, True, 2]


def test_when_nothing_helps_the_error_names_the_cures() -> None:
    residency = Residency(Copier())
    tries = itertools.count()

    def work() -> None:
        next(tries)
        raise Full

    with pytest.raises(OutOfMemory, match=r"not enough memory.*--lowvram.*Tiled VAE"):
        residency.run([Part("unet", [small_unet()], "unet")], work)
    assert next(tries) == 3


def test_what_has_no_blocks_is_not_tried_block_by_block() -> None:
    residency = Residency(Copier())
    tries = itertools.count()

    def work() -> None:
        next(tries)
        raise Full

    with pytest.raises(OutOfMemory):
        residency.run([part("vae", "vae")], work)
    assert next(tries) == 2
    assert residency.manner == "turns"


def test_on_a_cpu_what_no_job_uses_goes_before_the_work_is_tried_again() -> None:
    spared = iter([True, False])
    residency = Residency(None, spare=lambda: next(spared))
    tries: list[int] = []

    def work() -> None:
        tries.append(0)
        raise Full

    with pytest.raises(OutOfMemory, match="smaller"):
        residency.run([part("unet")], work)
    assert len(tries) == 2


def test_another_fault_goes_through_and_is_not_tried_again() -> None:
    residency = Residency(Copier())
    with pytest.raises(RuntimeError, match="shape"):
        residency.run([part("unet")], lambda: (_ for _ in ()).throw(RuntimeError("shape")))
    assert residency.manner == "together"


def test_a_lent_network_comes_back_and_what_it_made_meanwhile_too() -> None:
    class Keeps(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.register_buffer("seen", x)
            return super().forward(x)

    net = Keeps(4, 4)
    before = places(net)
    residency = Residency(Copier())
    residency.lend([net], lambda: net(torch.ones(1, 4)), after=True)
    assert places(net)[:2] == before
    assert residency.here == ()


@pytest.mark.parametrize(("manner", "found"), [("together", 1.5), ("turns", 1.5), ("blocks", None)])
def test_what_work_took_is_measured_unless_blocks_came_meanwhile(
    monkeypatch: pytest.MonkeyPatch, manner: Manner, found: float | None
) -> None:
    for name, told in {"reset_peak_memory_stats": None, "memory_allocated": 100, "max_memory_allocated": 250}.items():
        monkeypatch.setattr(torch.cuda, name, lambda _, told=told: told)
    mover = Copier()
    mover.device = torch.device("cuda")
    residency = Residency(mover)
    residency.manner = manner
    residency.run([Part("U-Net", [small_unet()], "unet")], lambda: None, Work("U-Net of sd1", 100))
    assert residency.corrections.found.get("U-Net of sd1") == found
    residency.run([part("VAE", "vae")], lambda: None, Work("decoding of sd1", 100))
    assert residency.corrections.found["decoding of sd1"] == 1.5
