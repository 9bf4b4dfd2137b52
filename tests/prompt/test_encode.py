"""From prompts to what the U-Net reads, held against transformers on the same weights."""

from dataclasses import replace

import pytest
import torch
from transformers import CLIPTextModel

from tests.support import write_tiny_checkpoint
from webui.checkpoints.load import load_checkpoint
from webui.nn.text import clip_config
from webui.prompt.encode import emphasise, encode_pair, encode_prompt, joined
from webui.prompt.tokenize import Chunk
from webui.schema.errors import BadRequest


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A tiny model of each family."""
    folder = tmp_path_factory.mktemp("models")
    for family in ("sd1", "sd2", "sdxl"):
        write_tiny_checkpoint(folder / f"{family}.safetensors", family)
    return {family: load_checkpoint(folder / f"{family}.safetensors") for family in ("sd1", "sd2", "sdxl")}


def states(encoder, chunk):
    """transformers' own model: outputs of all layers (77 d), the closing norm, and its normed last state."""
    twin = CLIPTextModel(clip_config(encoder.config)).eval()
    twin.load_state_dict(encoder.text_model.state_dict())
    output = twin(torch.tensor([chunk.ids]), output_hidden_states=True)
    return [state[0] for state in output.hidden_states], twin.final_layer_norm, output.last_hidden_state[0]


@pytest.mark.parametrize("skip", [1, 2, 3])
def test_clip_skip_takes_an_earlier_layer_and_norms_it(models, skip):
    model = models["sd1"]
    layers, norm, _ = states(model.texts[0], model.tokenizers[0].chunks("a red ball")[0])
    context = encode_prompt(model, "a red ball", skip, 64, 64).context
    torch.testing.assert_close(context, norm(layers[-skip]))


@pytest.mark.parametrize(("skip", "layer"), [(1, -2), (2, -2), (3, -3)])
def test_sd2_reads_the_last_layer_but_one_normed(models, skip, layer):
    model = models["sd2"]
    layers, norm, _ = states(model.texts[0], model.tokenizers[0].chunks("a red ball", 0)[0])
    torch.testing.assert_close(encode_prompt(model, "a red ball", skip, 64, 64).context, norm(layers[layer]))


def test_sdxl_reads_both_encoders_without_norm_and_is_told_sizes(models):
    model = models["sdxl"]
    first, second = model.texts
    chunk_l, chunk_g = (model.tokenizers[0].chunks("a red ball", pad)[0] for pad in (None, 0))
    layers_l, _, _ = states(first, chunk_l)
    layers_g, _, normed = states(second, chunk_g)
    cond = encode_prompt(model, "a red ball", 1, 96, 64)
    torch.testing.assert_close(cond.context, torch.cat([layers_l[-2], layers_g[-2]], dim=-1))
    pooled = second.text_projection(normed[chunk_g.ids.index(second.config.end_id)])
    torch.testing.assert_close(cond.y[:12], pooled)
    frequencies = 10000 ** (-torch.arange(128) / 128)
    sizes = [torch.cat([(size * frequencies).cos(), (size * frequencies).sin()]) for size in (64, 96, 0, 0, 64, 96)]
    torch.testing.assert_close(cond.y[12:], torch.cat(sizes), rtol=0, atol=1e-4)


def test_sdxl_without_a_negative_prompt_is_given_zeros_beside_the_sizes(models):
    cond, uncond = encode_pair(models["sdxl"], "a red ball", "", 1, 64, 64)
    assert not uncond.context.any()
    assert not uncond.y[:12].any()
    assert torch.equal(uncond.y[12:], cond.y[12:])
    _, with_text = encode_pair(models["sdxl"], "a red ball", "a cat", 1, 64, 64)
    assert with_text.context.any()
    assert with_text.y[:12].any()


def test_each_chunk_is_encoded_by_itself(models):
    long = encode_prompt(models["sd1"], "a red ball BREAK a blue cat", 1, 64, 64).context
    parts = [encode_prompt(models["sd1"], text, 1, 64, 64).context for text in ("a red ball", "a blue cat")]
    assert long.shape == (154, 16)
    torch.testing.assert_close(long, torch.cat(parts))


def test_cond_and_uncond_are_of_one_length(models):
    model = models["sd1"]
    cond, uncond = encode_pair(model, "cat " * 160, "dog", 1, 64, 64)
    assert cond.context.shape == uncond.context.shape == (231, 16)
    alone = encode_prompt(model, "dog", 1, 64, 64).context
    empty = encode_prompt(model, "", 1, 64, 64).context
    torch.testing.assert_close(uncond.context, torch.cat([alone, empty, empty]))
    swapped, _ = encode_pair(model, "dog", "cat " * 160, 1, 64, 64)
    assert torch.equal(swapped.context, uncond.context)


def test_the_empty_prompt_is_encoded_like_any_other(models):
    cond, uncond = encode_pair(models["sd1"], "", "", 1, 64, 64)
    assert torch.equal(cond.context, uncond.context)
    assert cond.context.any()


def test_weights_scale_their_tokens_and_the_mean_is_restored(models):
    plain = encode_prompt(models["sd1"], "a red ball", 1, 64, 64).context
    weighted = encode_prompt(models["sd1"], "a (red:1.5) ball", 1, 64, 64).context
    expected = plain.clone()
    expected[2] *= 1.5
    expected *= plain.mean() / expected.mean()
    torch.testing.assert_close(weighted, expected)
    torch.testing.assert_close(weighted.mean(), plain.mean())


def test_the_emphasis_modes_scale_as_they_say(models):
    plain, norm, ignored, letters = (
        encode_prompt(models["sd1"], text, 1, 64, 64, emphasis).context
        for text, emphasis in (
            ("a red ball", "Original"),
            ("a (red:1.5) ball", "No norm"),
            ("a (red:1.5) ball", "Ignore"),
            ("a (red:1.5) ball", "None"),
        )
    )
    expected = plain.clone()
    expected[2] *= 1.5
    assert torch.equal(norm, expected)
    assert torch.equal(ignored, plain)
    assert torch.equal(letters, encode_prompt(models["sd1"], r"a \(red:1.5\) ball", 1, 64, 64).context)


def test_prompts_that_act_at_once_are_of_one_length(models):
    model = models["sdxl"]
    asked = []

    def encode(text):
        asked.append(text)
        return encode_prompt(model, text, 1, 64, 64)

    (first, second), uncond = joined(model, encode, ["a red ball", "cat " * 80], "dog")
    assert first.context.shape == second.context.shape == uncond.context.shape == (154, 32)
    assert asked == ["a red ball", "cat " * 80, "dog", ""]
    assert torch.equal(first.context[:77], encode("a red ball").context)
    assert torch.equal(uncond.context[77:], encode("").context)


def test_weight_one_changes_nothing_at_all(models):
    plain = encode_prompt(models["sd1"], "a red ball", 1, 64, 64).context
    assert torch.equal(encode_prompt(models["sd1"], "a (red:1.0) ball", 1, 64, 64).context, plain)


def test_weights_do_not_touch_the_pooled_state(models):
    plain, weighted = (encode_prompt(models["sdxl"], text, 1, 64, 64) for text in ("a red ball", "a (red:1.5) ball"))
    assert torch.equal(plain.y, weighted.y)
    assert not torch.equal(plain.context, weighted.context)


def test_a_mean_that_vanishes_does_not_give_nan():
    chunk = Chunk((0, 1), (0.0, 0.0))
    assert torch.equal(emphasise(torch.ones(2, 3), chunk), torch.zeros(2, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_emphasis_keeps_the_dtype_and_is_reckoned_in_at_least_single_precision(dtype):
    hidden = torch.randn(77, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    chunk = Chunk((1,) * 77, (1.0, 1.3, *(1.0,) * 75))
    exact = emphasise(hidden.double(), chunk)
    found = emphasise(hidden, chunk)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), exact, rtol=torch.finfo(dtype).eps * 4, atol=1e-6)


class Words:
    """Two vectors for "ball", those of each text encoder drawn by chance."""

    def __init__(self, model):
        generator = torch.Generator().manual_seed(3)
        self.indices = [tokenizer.index({"ball": 2}) for tokenizer in model.tokenizers]
        self.drawn = [torch.randn(2, text.config.width, generator=generator) for text in model.texts]

    def vectors(self, name):
        assert name == "ball"
        return self.drawn


def states_with(encoder, ids, place, vectors):
    """As `states`, vectors put by hand into what transformers' embedding layer gives."""
    twin = CLIPTextModel(clip_config(encoder.config)).eval()
    twin.load_state_dict(encoder.text_model.state_dict())

    def put(module, given, output):
        output = output.clone()
        output[0, place : place + len(vectors)] = vectors
        return output

    twin.embeddings.token_embedding.register_forward_hook(put)
    output = twin(torch.tensor([ids]), output_hidden_states=True)
    return [state[0] for state in output.hidden_states], twin.final_layer_norm, output.last_hidden_state[0]


def test_a_word_that_stands_for_vectors_is_encoded_as_by_hand(models):
    model, words = models["sd1"], Words(models["sd1"])
    ids = list(model.tokenizers[0].chunks("a red cat cat dog")[0].ids)  # the cats make room
    _, _, last = states_with(model.texts[0], ids, 3, words.drawn[0])
    torch.testing.assert_close(encode_prompt(model, "a red ball dog", 1, 64, 64, words=words).context, last)
    weighted = encode_prompt(model, "a red (ball:1.4) dog", 1, 64, 64, words=words).context
    expected = last.clone()
    expected[3:5] *= 1.4
    torch.testing.assert_close(weighted, expected * (last.mean() / expected.mean()))


def test_a_word_has_vectors_for_each_of_two_text_encoders(models):
    model, words = models["sdxl"], Words(models["sdxl"])
    hidden = []
    for number, pad in enumerate((None, 0)):
        ids = list(model.tokenizers[number].chunks("a red cat cat dog", pad)[0].ids)
        layers, _, normed = states_with(model.texts[number], ids, 3, words.drawn[number])
        hidden.append(layers[-2])
    cond = encode_prompt(model, "a red ball dog", 1, 64, 64, words=words)
    torch.testing.assert_close(cond.context, torch.cat(hidden, dim=-1))
    pooled = model.texts[1].text_projection(normed[ids.index(model.texts[1].config.end_id)])
    torch.testing.assert_close(cond.y[:12], pooled)


def test_each_chunk_has_its_own_vectors(models):
    model, words = models["sd1"], Words(models["sd1"])
    both = encode_prompt(model, "a red BREAK a ball", 1, 64, 64, words=words).context
    alone = [encode_prompt(model, text, 1, 64, 64, words=words).context for text in ("a red", "a ball")]
    torch.testing.assert_close(both, torch.cat(alone))
    assert torch.equal(alone[0], encode_prompt(model, "a red", 1, 64, 64).context)


def test_skipping_more_layers_than_there_are_is_refused_with_the_number(models):
    with pytest.raises(BadRequest, match="3 layers") as caught:
        encode_prompt(models["sd1"], "a", 4, 64, 64)
    assert "3 or less" in caught.value.cure


def test_a_model_without_size_conditioning_gets_no_y(models):
    assert encode_prompt(models["sd1"], "a", 1, 64, 64).y is None
    sdxl = models["sdxl"]
    config = replace(sdxl.config, unet=replace(sdxl.config.unet, adm_channels=None))
    assert encode_prompt(replace(sdxl, config=config), "a", 1, 64, 64).y is None
