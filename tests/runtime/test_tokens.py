"""Prompts are counted with the tokenizer of the checkpoint that reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.networks.files import header_only
from tests.support import write_tiny_checkpoint
from webui.checkpoints.catalogue import Catalogue
from webui.checkpoints.load import load_checkpoint
from webui.networks.embeddings import EmbeddingCatalogue
from webui.prompt.schedule import Clock
from webui.runtime.tokens import Counted, Tokens
from webui.schema.errors import NotFound

FOUR = Clock(4)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    write_tiny_checkpoint(folder / "Stable-diffusion" / "tiny.safetensors")
    return folder


@pytest.fixture(scope="module")
def tokens(models_dir: Path) -> Tokens:
    return Tokens(Catalogue(models_dir), EmbeddingCatalogue(models_dir))


@pytest.mark.parametrize(
    ("prompt", "chunks"),
    [
        ("", (0,)),
        ("a red ball", (3,)),
        ("(red:1.3) # ball", (1,)),
        ("<lora:x:1>red", (1,)),
        ("red BREAK red ball", (1, 2)),
        ("red " * 80, (75, 5)),
        ("[red:red ball:2] red", (3,)),
        ("[red|red ball red]", (3,)),
        ("red AND red ball", (2,)),
        ("{red|ball}", (1,)),
        ("__red__ ball", (2,)),
    ],
)
def test_the_longest_text_of_a_prompt_is_counted_chunk_by_chunk(
    tokens: Tokens, prompt: str, chunks: tuple[int, ...]
) -> None:
    assert tokens.count("tiny", prompt, FOUR) == Counted(chunks, 75)


def test_the_words_of_the_hires_pass_are_those_of_its_own_steps(tokens: Tokens) -> None:
    hires = Clock(4, before=4, part=1)
    assert tokens.count("tiny", "[red:red red ball:0.5]", FOUR).tokens == (3,)
    assert tokens.count("tiny", "[red red ball:red:0.5]", hires).tokens == (1,)
    assert tokens.count("tiny", "[red red ball:red:1.5]", hires).tokens == (3,)


def test_the_count_is_that_of_the_chunks_the_model_is_shown(tokens: Tokens, models_dir: Path) -> None:
    prompt = "a red ball, " * 30 + "BREAK (blue:1.2) cat"
    tokenizer = load_checkpoint(models_dir / "Stable-diffusion" / "tiny.safetensors").tokenizers[0]
    ends = [chunk.ids.index(tokenizer.end_id) - 1 for chunk in tokenizer.chunks(prompt)]
    assert tokens.count("tiny", prompt, FOUR).tokens == tuple(ends)


def test_emphasis_none_counts_brackets(tokens: Tokens) -> None:
    assert sum(tokens.count("tiny", "(red)", FOUR, emphasis="None").tokens) > 1


def test_notes_are_told_before_anything_is_drawn(tokens: Tokens) -> None:
    (note,) = tokens.count("tiny", "a AND b", FOUR, negative=True).notes
    assert "AND has no effect" in note


def test_a_model_that_is_not_there_is_named(tokens: Tokens) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        tokens.count("nowhere", "a", FOUR)


def test_a_long_prompt_that_changes_at_every_step_is_counted(tokens: Tokens) -> None:
    prompt = "".join(f"[{'|'.join('a' * count)}]" for count in (7, 11, 13, 17))
    assert tokens.count("tiny", f"{prompt} {'red ' * 3000}", Clock(1000)).room == 75


def test_a_word_that_names_an_embedding_counts_its_vectors(tokens: Tokens, models_dir: Path) -> None:
    path = models_dir / "embeddings" / "ball.safetensors"
    header_only(path, {"emb_params": (6, 16)})
    assert tokens.count("tiny", "a (red:1.2) Ball", FOUR) == Counted((8,), 75)
    assert tokens.count("tiny", "red " * 70 + "ball", FOUR, negative=True).tokens == (70, 6)
    header_only(path, {"emb_params": (6, 20)})
    (note,) = (counted := tokens.count("tiny", "a red ball", FOUR)).notes
    assert (counted.tokens, '"ball" is read as it stands' in note) == ((3,), True)
    path.unlink()
    assert tokens.count("tiny", "a red ball", FOUR) == Counted((3,), 75)
