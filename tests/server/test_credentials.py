"""Users and passwords come from options, a file or the environment; where others could come in, one is made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.schema.errors import BadRequest
from webui.server.credentials import gather, make_password, readable_by_others


def passwords(*given: str, file: Path | None = None, variable: str = "", exposed: bool = False, no_auth: bool = False):
    environment = {"ATELIER_AUTH": variable} if variable else {}
    found = gather(given, file, environment, exposed=exposed, no_auth=no_auth)
    assert environment == {}
    return found.passwords


def test_without_users_a_private_server_has_no_login():
    assert passwords() == {}


def test_users_come_from_options_a_file_and_the_environment_together(tmp_path: Path):
    file = tmp_path / "users"
    file.write_text("# people\nann:a,b:c\n\nbob:2\n")
    found = passwords("cat:3,dan:4", "eve:5", file=file, variable="fay:6")
    assert found == {"cat": "3", "dan": "4", "eve": "5", "fay": "6", "ann": "a,b:c", "bob": "2"}


def test_an_exposed_server_without_users_gets_one_with_a_strong_password():
    ((user, password),) = passwords(exposed=True).items()
    assert user == "atelier"
    assert len(password.replace("-", "")) == 16
    assert password != make_password()


def test_an_exposed_server_with_users_gets_no_further_one():
    assert passwords("ann:1", exposed=True) == {"ann": "1"}


def test_no_auth_means_no_login_even_where_exposed():
    assert passwords(exposed=True, no_auth=True) == {}


def test_no_auth_and_users_exclude_each_other():
    with pytest.raises(BadRequest, match="exclude"):
        passwords("ann:1", no_auth=True)


@pytest.mark.parametrize("entry", ["ann", "ann:", ":secret"])
def test_what_is_no_login_is_refused_without_repeating_it(entry: str):
    with pytest.raises(BadRequest) as caught:
        passwords(entry)
    assert str(caught.value) == "A login is written user:password. For example: --auth ann:correct-horse"


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(BadRequest, match="nobody"):
        passwords(file=tmp_path / "nobody")


def test_a_file_that_others_can_read_is_noticed(tmp_path: Path):
    file = tmp_path / "users"
    file.write_text("ann:1")
    file.chmod(0o600)
    assert not readable_by_others(file)
    file.chmod(0o644)
    assert readable_by_others(file)
