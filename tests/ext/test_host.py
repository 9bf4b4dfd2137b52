"""The host: activation when first needed, hooks in order, offers, reloading, and what is reported."""

from __future__ import annotations

import gc
import inspect
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ext.folders import allowed, found_in, host_of, write_extension
from webui.ext.discover import discover
from webui.ext.host import Host
from webui.ext.state import Choices
from webui.schema.errors import BadRequest, ExtensionError, NotFound

HOOKED = 'hooks = ["before_step"]'
CANNY = """
[[preprocessor]]
id = "canny"
entry = "main:canny"
param = [{id="low", type="int", default=1}]
"""


def loaded() -> list[str]:
    return [name for name in sys.modules if name.startswith("webui_ext.")]


def test_nothing_is_imported_before_it_is_needed(tmp_path: Path):
    write_extension(tmp_path, "one", "def before_step(s): pass\n", head=HOOKED)
    host = host_of(tmp_path)
    assert host.hooks("after_step") == []
    assert loaded() == []
    assert [owner for owner, _function in host.hooks("before_step")] == ["one"]
    assert "webui_ext.one.main" in loaded()
    host.close()
    assert loaded() == []


def test_hooks_come_in_running_order(tmp_path: Path):
    write_extension(tmp_path, "aa", "def before_step(s): return 'aa'\n", head=HOOKED, tables='[order]\nafter = ["bb"]')
    write_extension(tmp_path, "bb", "def before_step(s): return 'bb'\n", head=HOOKED, tables="[order]\norder = 5")
    write_extension(tmp_path, "cc", "def before_step(s): return 'cc'\n", head=HOOKED)
    host = host_of(tmp_path)
    hooks = host.hooks("before_step")
    assert [owner for owner, _function in hooks] == ["cc", "bb", "aa"]
    assert [host.call("before_step", owner, function, None) for owner, function in hooks] == ["cc", "bb", "aa"]


def test_an_extension_that_is_not_ready_has_no_hooks(tmp_path: Path):
    write_extension(tmp_path, "one", "def before_step(s): pass\n", head=HOOKED)
    host = Host(discover([tmp_path], Choices(), bundled={}))
    assert host.hooks("before_step") == []
    with pytest.raises(ExtensionError, match='Extension "one" is disabled: it does not come with the program'):
        host.activate("one")


@pytest.mark.parametrize(
    ("main", "reason"),
    [
        ("a = (\n", "cannot be loaded: SyntaxError: '(' was never closed (main.py:1)"),
        ("import nothere\n", "cannot be loaded: ModuleNotFoundError: No module named 'nothere' (main.py:1)"),
        ("\n1 / 0\n", "cannot be loaded: ZeroDivisionError: division by zero (main.py:2)"),
        ("raise SystemExit(3)\n", "cannot be loaded: SystemExit: 3 (main.py:1)"),
        ("", 'cannot be used: the hook "before_step" is listed, but main has no such function'),
        (
            "def before_stp(s): pass\n",
            'cannot be used: the hook "before_step" is listed, but main has no such function '
            '(did you mean "before_stp"?)',
        ),
        ("def before_step(): pass\n", "cannot be used: before_step must take s: def before_step(s)"),
        ("def before_step(s, t): pass\n", "cannot be used: before_step must take s: def before_step(s)"),
        ("def before_step(s): yield\n", "cannot be used: before_step must not hold a yield"),
        (
            "def before_step(s): pass\ndef after_step(s): pass\n",
            'cannot be used: main has the hook "after_step", which the manifest does not list',
        ),
    ],
)
def test_an_extension_that_cannot_be_activated_fails_the_job_with_one_clear_reason(
    tmp_path: Path, main: str, reason: str
):
    write_extension(tmp_path, "one", main, head=HOOKED)
    host = host_of(tmp_path)
    for _again in range(2):
        with pytest.raises(ExtensionError) as caught:
            host.hooks("before_step")
        assert caught.value.message == f'Extension "one" {reason}.'
    (report,) = host.report()
    assert (report.state, report.reason) == ("failed", reason)
    assert loaded() == []


def test_an_observer_that_cannot_be_activated_leaves_a_note(tmp_path: Path):
    write_extension(tmp_path, "one", "1 / 0\n", head='hooks = ["job_done"]')
    host = host_of(tmp_path)
    assert host.hooks("job_done") == []
    assert [note[:48] for note in host.take_notes()] == ['Extension "one" cannot be loaded: ZeroDivisionEr']


def test_others_are_not_harmed_by_one_that_cannot_be_loaded(tmp_path: Path):
    write_extension(tmp_path, "bad", "a = (\n", tables=CANNY)
    write_extension(tmp_path, "good", "def before_step(s): pass\n", head=HOOKED)
    host = host_of(tmp_path)
    with pytest.raises(ExtensionError):
        host.preprocessor("canny")
    assert [owner for owner, _function in host.hooks("before_step")] == ["good"]


def test_open_pass_is_a_generator(tmp_path: Path):
    write_extension(tmp_path, "one", "def open_pass(p): pass\n", head='hooks = ["open_pass"]')
    with pytest.raises(ExtensionError, match="open_pass must hold one yield"):
        host_of(tmp_path).hooks("open_pass")


def test_setup_is_given_settings_and_device(tmp_path: Path):
    main = "seen = []\ndef setup(app): seen.append((app.id, app.settings, app.device, app.folder.name))\n"
    tables = '[[setting]]\nid = "loud"\ntype = "bool"\n[[setting]]\nid = "size"\ntype = "int"\ndefault = 3\nmax = 9\n'
    write_extension(tmp_path, "one", main, head='hooks = ["setup"]', tables=tables)
    host = host_of(tmp_path, settings={"one": {"loud": True, "size": 99, "gone": 1}}, device="cpu")
    seen = host.activate("one").module.seen
    assert seen == [("one", {"one.loud": True, "one.size": 3}, "cpu", "one")]
    host.activate("one")
    assert len(seen) == 1


def test_a_failing_setup_is_a_failed_extension(tmp_path: Path):
    write_extension(tmp_path, "one", "def setup(app):\n    raise ValueError('no')\n", head='hooks = ["setup"]')
    host = host_of(tmp_path)
    with pytest.raises(ExtensionError, match=r'Extension "one" failed in setup: ValueError: no \(main.py:2\)\.'):
        host.activate("one")
    assert host.report()[0].state == "failed"
    assert loaded() == []


def test_teardown_runs_once_and_its_error_is_a_note(tmp_path: Path):
    main = "seen = []\ndef teardown(app):\n    seen.append(app.id)\n    raise ValueError('no')\n"
    write_extension(tmp_path, "one", main, head='hooks = ["teardown"]')
    host = host_of(tmp_path)
    seen = host.activate("one").module.seen
    host.close()
    host.close()
    assert seen == ["one"]
    assert host.take_notes() == ('Extension "one" failed in teardown: ValueError: no (main.py:4).',)


def test_an_extension_uses_what_another_provides(tmp_path: Path):
    write_extension(
        tmp_path, "user", "def setup(app): app.provide('sum', app.service('maker.two')() + 1)\n",
        head='hooks = ["setup"]', tables='[dependencies]\nextensions = ["maker"]',
    )  # fmt: skip
    write_extension(
        tmp_path, "maker", "def setup(app): app.provide('two', lambda: 2)\n", head='hooks = ["setup"]',
    )  # fmt: skip
    write_extension(
        tmp_path, "thief", "def setup(app): app.service('maker.two')\n", head='hooks = ["setup"]'
    )  # fmt: skip
    host = host_of(tmp_path)
    host.activate("user")
    with pytest.raises(ExtensionError, match=r'"maker" is not declared in \[dependencies\]'):
        host.activate("thief")


def test_reloading_a_provider_reloads_who_uses_it(tmp_path: Path):
    maker = write_extension(tmp_path, "maker", "def setup(app): app.provide('two', 2)\n", head='hooks = ["setup"]')
    write_extension(
        tmp_path, "user", "def setup(app):\n    global TWO\n    TWO = app.service('maker.two')\n",
        head='hooks = ["setup"]', tables='[dependencies]\nextensions = ["maker"]',
    )  # fmt: skip
    host = host_of(tmp_path)
    assert host.activate("user").module.TWO == 2
    (maker / "main.py").write_text("def setup(app): app.provide('two', 22)\n")
    host.reload("maker")
    assert host.activate("user").module.TWO == 22


def test_a_preprocessor_keeps_its_signature_and_is_measured(tmp_path: Path):
    write_extension(tmp_path, "one", "def canny(image, *, low, ctx): return (image, low, ctx)\n", tables=CANNY)
    host = host_of(tmp_path)
    spec, function = host.preprocessor("canny")
    assert (spec.id, host.owner_of("canny")) == ("canny", "one")
    assert list(inspect.signature(function).parameters) == ["image", "low", "ctx"]
    assert function(1, low=2, ctx=3) == (1, 2, 3)
    assert host.report()[0].hooks["preprocessor canny"].calls == 1


def test_a_preprocessors_error_names_the_extension_and_the_line(tmp_path: Path):
    write_extension(tmp_path, "one", "def canny(image, *, low):\n    return image[low]\n", tables=CANNY)
    _spec, function = host_of(tmp_path).preprocessor("canny")
    with pytest.raises(ExtensionError) as caught:
        function({}, low=3)
    assert caught.value.message == 'Extension "one" failed in preprocessor canny: KeyError: 3 (main.py:2).'


@pytest.mark.parametrize("main", ["def canny(image): pass\n", "def canny(image, *, low, high): pass\n", "canny = 3\n"])
def test_a_preprocessor_must_take_what_it_declares(tmp_path: Path, main: str):
    write_extension(tmp_path, "one", main, tables=CANNY)
    with pytest.raises(ExtensionError, match='Extension "one": preprocessor "canny"'):
        host_of(tmp_path).preprocessor("canny")


def test_a_preprocessor_that_is_not_there_is_a_bad_request(tmp_path: Path):
    write_extension(tmp_path, "one", "", tables=CANNY)
    with pytest.raises(BadRequest, match=r'There is no preprocessor "cany" \(did you mean "canny"\?\)\.'):
        host_of(tmp_path).preprocessor("cany")
    disabled = Host(discover([tmp_path], Choices(), bundled={}))
    with pytest.raises(BadRequest, match='belongs to the extension "one", which is disabled'):
        disabled.preprocessor("canny")


def test_entries_may_lie_in_other_modules(tmp_path: Path):
    tables = CANNY.replace("main:", "parts.edges:")
    write_extension(
        tmp_path, "one", "", tables=tables, files={"parts/edges.py": "def canny(image, *, low): return low\n"}
    )
    _spec, function = host_of(tmp_path).preprocessor("canny")
    assert function(None, low=7) == 7


def test_adapters_come_in_running_order_and_a_broken_one_is_a_note(tmp_path: Path):
    for id, main in (("aa", "class A: pass\n"), ("bb", "a = (\n"), ("cc", "class A: pass\n")):
        write_extension(tmp_path, id, main, tables=f'[[control_adapter]]\nid = "{id}_net"\nentry = "main:A"')
    host = host_of(tmp_path)
    assert [(owner, spec.id, cls.__name__) for owner, spec, cls in host.adapters()] == [
        ("aa", "aa_net", "A"), ("cc", "cc_net", "A"),
    ]  # fmt: skip
    assert [note[:35] for note in host.take_notes()] == ['Extension "bb" cannot be loaded: Sy']


def test_a_route_is_found_by_name(tmp_path: Path):
    tables = '[[route]]\nname = "hello"\nentry = "main:hello"'
    write_extension(tmp_path, "one", "def hello(body): return {'hello': body}\n", tables=tables)
    host = host_of(tmp_path)
    assert host.route("one", "hello")("you") == {"hello": "you"}
    with pytest.raises(NotFound, match='The extension "one" has no route "bye"'):
        host.route("one", "bye")
    with pytest.raises(NotFound, match='There is no extension "two"'):
        host.route("two", "hello")


def test_a_reload_sees_edits_and_frees_the_old_code(tmp_path: Path):
    folder = write_extension(tmp_path, "one", "def before_step(s): return 1\n", head=HOOKED)
    host = host_of(tmp_path)

    def answer() -> Callable[..., object]:
        ((_owner, function),) = host.hooks("before_step")
        return function

    assert answer()(None) == 1
    old = weakref.ref(answer())
    content = host.content("one")
    (folder / "main.py").write_text("def before_step(s): return 2\n")
    assert answer()(None) == 1
    host.reload("one")
    gc.collect()
    assert old() is None
    assert answer()(None) == 2
    assert host.content("one") != content


def test_a_mended_extension_works_after_a_reload(tmp_path: Path):
    folder = write_extension(tmp_path, "one", "a = (\n", head=HOOKED)
    host = host_of(tmp_path)
    with pytest.raises(ExtensionError):
        host.hooks("before_step")
    (folder / "main.py").write_text("def before_step(s): pass\n")
    host.reload("one")
    assert len(host.hooks("before_step")) == 1
    assert host.report()[0].state == "active"


def test_disabling_takes_the_hooks_away_at_once(tmp_path: Path):
    write_extension(tmp_path, "one", "def before_step(s): pass\n", head=HOOKED)
    host = host_of(tmp_path)
    host.hooks("before_step")
    host.disable("one")
    assert host.hooks("before_step") == []
    assert (host.report()[0].state, loaded()) == ("disabled", [])


def test_an_update_touches_only_what_has_changed(tmp_path: Path):
    for id in ("aa", "bb", "cc", "dd"):
        write_extension(tmp_path, id, "def before_step(s): pass\n", head=HOOKED)
    host = host_of(tmp_path)
    modules = {owner: host.activate(owner).module for owner, _function in host.hooks("before_step")}
    write_extension(tmp_path, "bb", "def before_step(s): pass\n", head=HOOKED + '\ndescription = "edited"')
    write_extension(tmp_path, "ee", "def before_step(s): pass\n", head=HOOKED)
    found = discover([tmp_path], allowed("aa", "bb", "cc", "ee"), bundled={})
    host.update(found, {"cc": {"unknown": 1}})
    assert [owner for owner, _function in host.hooks("before_step")] == ["aa", "bb", "cc", "ee"]
    kept = {id for id in ("aa", "bb", "cc") if host.activate(id).module is modules[id]}
    assert kept == {"aa"}


def test_an_extension_that_leaked_does_not_run_until_it_is_reloaded(tmp_path: Path):
    write_extension(tmp_path, "one", "def before_step(s): pass\n", head=HOOKED)
    host = host_of(tmp_path)
    host.hooks("before_step")
    host.fail("one", "left a patched forward behind")
    with pytest.raises(ExtensionError, match='Extension "one" left a patched forward behind'):
        host.hooks("before_step")
    assert host.report()[0].reason == "left a patched forward behind"
    host.reload("one")
    assert len(host.hooks("before_step")) == 1


def test_folders_with_one_id_are_reported_one_by_one(tmp_path: Path):
    for parent in ("one", "two"):
        write_extension(tmp_path / parent, "same")
    host = Host(discover([tmp_path / "one", tmp_path / "two"], allowed("same"), bundled={}))
    assert [(report.id, report.state) for report in host.report()] == [("same", "blocked"), ("same", "blocked")]


def test_invalid_folders_are_reported_too(tmp_path: Path):
    (tmp_path / "alien").mkdir()
    assert [report.state for report in Host(found_in(tmp_path)).report()] == ["invalid"]
