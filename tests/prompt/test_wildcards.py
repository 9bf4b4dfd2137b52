"""Choices in a prompt: `{a|b}`, `{2$$a|b|c}` and `__name__`."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.prompt.wildcards import DEEPEST, expand, has_choices, read_template, written_names
from webui.schema.errors import AtelierError, BadRequest, NotFound

FILES = {
    "colour": ["red", "green", "blue"],
    "animals/cat": ["a {big|small} cat"],
    "thing": ["__colour__ ball"],
    "empty": [],
    "self": ["x __self__"],
    "twice": ["__pair__ __pair__"],
    "pair": ["a", "b"],
}


def lookup(name):
    if name not in FILES:
        raise NotFound(f"There is no wildcard {name}.", "Write another name.")
    return FILES[name]


def results(text, seeds=300):
    return Counter(expand(text, lookup, seed) for seed in range(seeds))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a {red|green} ball", {"a red ball", "a green ball"}),
        ("{a|}b", {"ab", "b"}),
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("{a b}{2$$x|y}", {"{a b}x, y", "{a b}y, x"}),
        ("{2$$ and $$a|b|c}", {f"{x} and {y}" for x in "abc" for y in "abc" if x != y}),
        ("{2$$$$a|b}", {"ab", "ba"}),
        ("{1-2$$a|b}", {"a", "b", "a, b", "b, a"}),
        ("{5$$a|b}", {"a, b", "b, a"}),
        ("{0$$a|b}", {""}),
        ("__colour__", {"red", "green", "blue"}),
        ("__thing__", {"red ball", "green ball", "blue ball"}),
        ("__animals/cat__!", {"a big cat!", "a small cat!"}),
        ("{2$$__pair__}", {"a, b", "b, a"}),
        ("{__pair__|c}", {"a", "b", "c"}),
        ("{[a|b]|c}", {"[a|b]", "c"}),
        ("{[a|b}", {"[a", "b"}),
        ("[{a|b}:c:0.5]", {"[a:c:0.5]", "[b:c:0.5]"}),
        ("{0::a|1::b}", {"b"}),
        ("__twice__", {"a a", "a b", "b a", "b b"}),
    ],
)
def test_choices_are_made(text, expected):
    assert set(results(text)) == expected
    assert has_choices(text)


@pytest.mark.parametrize(
    "text",
    ["", "a cat", "{a}", "{}", "}{", "{a|b", "a|b}", "[a|b]", r"\{a|b\}", r"\__colour__", "__", "____", "snake_case_"],
)  # fmt: skip
def test_what_is_no_choice_is_text(text):
    assert expand(text, lookup, 1) == text
    assert not has_choices(text)


def test_shares_are_kept_to():
    counts = results("{3::a|b}", 4000)
    assert 2850 < counts["a"] < 3150


def test_every_option_is_as_likely():
    assert all(900 < count < 1100 for count in results("{a|b|c|d}", 4000).values())


def test_a_seed_makes_the_same_choices_each_time():
    text = "{a|b|c} {2$$d|e|f} __thing__"
    assert expand(text, lookup, 7) == expand(text, lookup, 7) == "a d, f red ball"
    assert len(results(text)) > 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("__nothing__", "no wildcard nothing"),
        ("__empty__", "no lines"),
        ("__self__", "comes back to itself"),
        ("__long__", "longer than"),
        ("__many__", "choices"),
        ("__deep0__", "deep"),
    ],
)
def test_what_cannot_be_expanded_is_an_error(text, words):
    deep = {f"deep{level}": [f"__deep{level + 1}__"] for level in range(100)}
    files = {**FILES, **deep, "long": ["x" * 30_000], "many": ["__few__" * 60], "few": ["__pair__" * 60]}

    def find(name):
        return files[name] if name in files else lookup(name)

    with pytest.raises(AtelierError, match=words) as caught:
        expand(text, find, 1)
    assert caught.value.cure


PIECES = ["{", "}", "|", "[", "]", "__", "_", "colour", "2$$", "::", "0.5::", "a", " ", "\\", "__pair__", "$$"]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(), st.integers(0, 2**32 - 1))
def test_any_text_is_expanded_or_refused(text, seed):
    try:
        made = expand(text, lookup, seed)
    except (BadRequest, NotFound):
        return
    assert made == expand(text, lookup, seed)
    assert has_choices(text) or made == text


@pytest.mark.parametrize(
    "piece", ["{", "}", "{|", "{a|b}", "__", "__a ", "__a", "_", "|", "[", "{[", "{a|", "[|]", "{2$$"]
)
def test_long_texts_of_any_kind_are_read(piece):
    """Not timed; a step that is quadratic would take minutes here."""
    long = piece * (50_000 // len(piece))
    read_template(long)
    read_template(long + "}" * 10_000)


def test_choices_as_deep_as_allowed_are_read():
    assert expand("{" * DEEPEST + "a" + "|a}" * DEEPEST, lookup, 3) == "a"
    beyond = "{" * (DEEPEST + 2) + "a" + "|a}" * (DEEPEST + 2)
    assert expand(beyond, lookup, 3).strip("{|a}") == ""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a __x/y__ ball, __z__", ("x/y", "z")),
        ("{2$$__x__} {1$${2$$red __y__}}", ("x", "y")),
        (r"{a|__x__} {0-2$$__y__} \__z__ [__w", ("x", "y")),
        ("{a|{b|{__x__|__y__}}} __x__", ("x", "y")),
    ],
)
def test_the_files_that_a_text_names_are_known_however_deep(text, names):
    assert written_names(text) == names
