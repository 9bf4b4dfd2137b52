"""Changed weights against the formulas written out number by number, in the forms of kohya's and LyCORIS's files."""

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from tests.nn.weights import draw, relative_error
from webui.networks.changes import Change
from webui.networks.kinds import BY_ID
from webui.nn.rotations import butterfly_order, turn_inputs_butterfly

OUT, IN, K = 12, 8, 3
LINEAR, CONV = (OUT, IN), (OUT, IN, K, K)
SHAPES = pytest.mark.parametrize("shape", [LINEAR, CONV], ids=["linear", "conv"])


def parts(kind: str, seed: int = 1, **shapes: tuple[int, ...]) -> Change:
    drawn: Mapping[str, Tensor] = {
        name: 0.2 * draw(*shape, seed=seed + i) for i, (name, shape) in enumerate(shapes.items())
    }
    assert kind in BY_ID
    return Change(kind, dict(drawn))


def with_numbers(change: Change, **numbers: float) -> Change:
    return Change(change.kind, {**change.parts, **{name: torch.tensor(value) for name, value in numbers.items()}})


def difference(change: Change, weight: Tensor) -> Tensor:
    found, _ = change.differences(weight, None)
    assert found is not None
    return found


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert ours.count_nonzero() > ours.numel() * 0.9
    assert relative_error(ours, theirs) < 1e-5


def test_a_linear_lora_is_up_times_down_times_alpha_by_rank() -> None:
    change = with_numbers(parts("lora", up=(OUT, 4), down=(4, IN)), alpha=2.0)
    up, down = change.parts["up"], change.parts["down"]
    expected = torch.stack([sum(up[:, r] * down[r, i] for r in range(4)) for i in range(IN)], dim=1) * 2 / 4
    assert_same(difference(change, draw(*LINEAR)), expected)


def test_a_lora_of_a_convolution_is_two_convolutions() -> None:
    change = with_numbers(parts("lora", up=(OUT, 4, 1, 1), down=(4, IN, K, K)), alpha=2.0, scalar=3.0)
    x = draw(1, IN, 6, 6)
    through = torch.conv2d(torch.conv2d(x, change.parts["down"]), change.parts["up"]) * 2 / 4 * 3
    assert_same(torch.conv2d(x, difference(change, draw(*CONV))), through)


def test_a_lora_with_a_core_is_three_convolutions() -> None:
    change = parts("lora", up=(OUT, 4, 1, 1), down=(4, IN, 1, 1), mid=(4, 4, K, K))
    x = draw(1, IN, 6, 6)
    through = x
    for part in ("down", "mid", "up"):
        through = torch.conv2d(through, change.parts[part])
    assert_same(torch.conv2d(x, difference(change, draw(*CONV))), through)


def test_a_linear_lora_fits_a_convolution_of_one_pixel() -> None:
    change = parts("lora", up=(OUT, 4), down=(4, IN))
    assert difference(change, draw(OUT, IN, 1, 1)).shape == (OUT, IN, 1, 1)


def test_an_inpainting_models_further_channels_stay_as_they_are() -> None:
    change = parts("lora", up=(OUT, 2, 1, 1), down=(2, 4, K, K))
    found = difference(change, draw(OUT, 9, K, K))
    assert_same(found[:, :4], difference(change, draw(OUT, 4, K, K)))
    assert found[:, 4:].count_nonzero() == 0


@SHAPES
def test_dora_sets_the_lengths_of_outputs(shape: tuple[int, ...]) -> None:
    rank_shapes = {"up": (OUT, 4), "down": (4, math.prod(shape[1:]))}
    change = parts("lora", **rank_shapes, dora_scale=(OUT, *(1 for _ in shape[1:])))
    weight = draw(*shape)
    moved = weight + (change.parts["up"] @ change.parts["down"]).reshape(shape)
    rows = [row / row.norm() * length for row, length in zip(moved, change.parts["dora_scale"], strict=True)]
    assert_same(difference(change, weight), torch.stack(rows) - weight)


@SHAPES
def test_dora_of_older_files_sets_the_lengths_of_inputs(shape: tuple[int, ...]) -> None:
    change = parts("lora", up=(OUT, 4), down=(4, math.prod(shape[1:])), dora_scale=(1, IN, *(1 for _ in shape[2:])))
    weight = draw(*shape)
    moved = weight + (change.parts["up"] @ change.parts["down"]).reshape(shape)
    lengths = change.parts["dora_scale"].flatten()
    columns = [moved[:, i] / moved[:, i].norm() * lengths[i] for i in range(IN)]
    assert_same(difference(change, weight), torch.stack(columns, dim=1) - weight)


def test_loha_multiplies_two_low_rank_matrices() -> None:
    factors = {"hada_w1_a": (OUT, 4), "hada_w1_b": (4, 72), "hada_w2_a": (OUT, 4), "hada_w2_b": (4, 72)}
    change = with_numbers(parts("loha", **factors), alpha=2.0)
    p = change.parts
    expected = torch.empty(OUT, 72)
    for o in range(OUT):
        for i in range(72):
            expected[o, i] = (p["hada_w1_a"][o] @ p["hada_w1_b"][:, i]) * (p["hada_w2_a"][o] @ p["hada_w2_b"][:, i])
    assert_same(difference(change, draw(*CONV)), expected.reshape(CONV) * 2 / 4)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "in factors"])
def test_lokr_puts_a_matrix_into_every_number_of_another(whole: bool) -> None:
    second = {"lokr_w2": (4, 4, K, K)} if whole else {"lokr_w2_a": (4, 2), "lokr_w2_b": (2, 4 * K * K)}
    change = with_numbers(parts("lokr", lokr_w1=(3, 2), **second), alpha=5.0)
    p = change.parts
    block = p["lokr_w2"] if whole else (p["lokr_w2_a"] @ p["lokr_w2_b"]).reshape(4, 4, K, K)
    rows = [torch.cat([p["lokr_w1"][a, b] * block for b in range(2)], dim=1) for a in range(3)]
    scale = 1 if whole else 5 / 2  # two whole matrices have no rank
    assert_same(difference(change, draw(*CONV)), torch.cat(rows) * scale)


@SHAPES
@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_glora_adds_to_the_weight_and_to_its_input(shape: tuple[int, ...], old: bool) -> None:
    kernel = shape[2:]
    ones = tuple(1 for _ in kernel)
    new = {"a1": (IN, 4, *ones), "a2": (4, IN, *ones), "b1": (OUT, 4, *ones), "b2": (4, IN, *kernel)}
    swapped = {"a1": new["a2"], "a2": new["a1"], "b1": new["b2"], "b2": new["b1"]}
    change = with_numbers(parts("glora", **(swapped if old else new)), alpha=2.0)
    a1, a2, b1, b2 = (change.parts[name] for name in (("a2", "a1", "b2", "b1") if old else ("a1", "a2", "b1", "b2")))
    weight = draw(*shape)
    added = (b1.flatten(1) @ b2.flatten(1)).reshape(shape)
    for j in range(IN):
        added[:, j] += sum(weight[:, i] * (a1.flatten(1)[i] @ a2.flatten(1)[:, j]) for i in range(IN))
    assert_same(difference(change, weight), added * 2 / 4)


def rotation(block: Tensor, limit: float = math.inf, norm: float = 0.0) -> Tensor:
    q = block - block.T
    q = q * min(1.0, limit / norm) if norm else q
    eye = torch.eye(len(q))
    return (eye + q) @ torch.linalg.inv(eye - q)


@SHAPES
@pytest.mark.parametrize("alpha", [None, 0.001, 100.0])
def test_oft_turns_blocks_of_outputs(shape: tuple[int, ...], alpha: float | None) -> None:
    change = parts("oft", oft_blocks=(3, 4, 4), rescale=(OUT, *(1 for _ in shape[1:])))
    change = change if alpha is None else with_numbers(change, alpha=alpha)
    blocks, weight = change.parts["oft_blocks"], draw(*shape)
    norm = float((blocks - blocks.transpose(1, 2)).norm())
    limit = math.inf if alpha is None else alpha * OUT
    turned = torch.empty(OUT, math.prod(shape[1:]))
    for n in range(3):
        turned[4 * n : 4 * n + 4] = rotation(blocks[n], limit, norm).T @ weight.flatten(1)[4 * n : 4 * n + 4]
    expected = turned.reshape(shape) * change.parts["rescale"]
    assert relative_error(weight + difference(change, weight), expected) < 1e-5


def test_a_rotation_keeps_angles_and_lengths() -> None:
    weight = draw(*LINEAR)
    turned = weight + difference(parts("oft", oft_blocks=(3, 4, 4)), weight)
    assert relative_error(turned.T @ turned, weight.T @ weight) < 1e-5
    assert relative_error(turned, weight) > 0.1


def test_boft_turns_outputs_in_stages_that_reach_ever_further() -> None:
    change = parts("oft", oft_blocks=(3, 4, 4, 4))
    weight = draw(16, IN)
    expected = weight.clone()
    for stage in range(3):
        far = 2 * 2**stage
        order = [c * 2 * far + g * far + k for c in range(16 // (2 * far)) for k in range(far) for g in range(2)]
        for n in range(4):
            rows = order[4 * n : 4 * n + 4]
            expected[rows] = rotation(change.parts["oft_blocks"][stage, n]) @ expected[rows]
    assert relative_error(weight + difference(change, weight), expected) < 1e-5


def test_pefts_boft_turns_inputs_in_stages_as_dense_matrices_do() -> None:
    rotations = torch.linalg.qr(draw(3, 4, 4, 4))[0]
    weight = draw(OUT, 16)
    expected = weight
    for stage in range(3):
        order = butterfly_order(16, 4 // 2**stage, 2, 3)
        shuffle = torch.eye(16)[order]
        expected = expected @ (shuffle @ torch.block_diag(*rotations[stage]) @ shuffle.T).T
    assert relative_error(turn_inputs_butterfly(weight, rotations), expected) < 1e-5


@SHAPES
@pytest.mark.parametrize("on_input", [0, 1])
def test_ia3_of_lycoris_stretches_one_axis(shape: tuple[int, ...], on_input: int) -> None:
    count = shape[on_input]
    vector = (1, count, 1, 1) if len(shape) == 4 else (count,)
    change = with_numbers(parts("ia3", weight=vector), on_input=on_input)
    weight, factors = draw(*shape), 1 + change.parts["weight"].flatten()
    expected = torch.stack([weight.select(on_input, i) * factors[i] for i in range(count)], dim=on_input)
    assert relative_error(weight + difference(change, weight), expected) < 1e-6


def test_a_full_difference_is_added_to_weight_and_bias() -> None:
    change = parts("full", diff=CONV, diff_b=(OUT,))
    weight, bias = change.differences(draw(*CONV), draw(OUT))
    assert weight is not None
    assert bias is not None
    assert_same(weight, change.parts["diff"])
    assert_same(bias, change.parts["diff_b"])


def test_norms_are_added_to() -> None:
    change = parts("norm", w_norm=(OUT,), b_norm=(OUT,))
    weight, bias = change.differences(draw(OUT), draw(OUT))
    assert weight is not None
    assert bias is not None
    assert_same(weight, change.parts["w_norm"])
    assert_same(bias, change.parts["b_norm"])


def test_butterfly_orders_agree_with_pefts() -> None:
    boft = pytest.importorskip("peft.tuners.boft.layer")
    theirs = boft.BOFTLayer.block_butterfly_perm
    for width, blocks, run, stages in [(16, 4, 2, 3), (16, 2, 2, 3), (16, 1, 2, 3), (48, 3, 4, 2), (12, 3, 2, 1)]:
        expected = theirs(None, width, blocks, run, stages - 1)
        assert torch.equal(butterfly_order(width, blocks, run, stages), expected)
