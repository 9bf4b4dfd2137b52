"""Who is let in: passwords, sessions, and how slow guessing is."""

from __future__ import annotations

import base64
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
from fastapi import Depends, FastAPI

from tests.server.asgi import Reply, ask
from webui.api.identity import current_user
from webui.server import login_page, passwords
from webui.server.auth import Login, Wall
from webui.server.guard import App
from webui.server.passwords import Users, Verifier
from webui.server.sessions import LIFETIME, Sessions
from webui.server.throttle import FORGOTTEN_AFTER, Throttle

HOST = ("host", "127.0.0.1:7860")
FORM = ("content-type", "application/x-www-form-urlencoded")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def house(tmp_path: Path, clock: Clock) -> Callable[..., App]:
    """Starts a server whose users are ann and bob; the same folder each time."""

    def start(**passwords: str) -> App:
        users = Users(tmp_path / "users.json", passwords or {"ann": "apple", "bob": "pear"})
        login = Login(users, Sessions(tmp_path / "sessions.json", clock), "atelier_x", Throttle(clock), clock)
        inner = FastAPI()
        inner.include_router(login_page.build_router(login))

        @inner.get("/who")
        def who(user: str = Depends(current_user)) -> str:
            return user

        return Wall(inner, login)

    return start


@pytest.fixture
def app(house: Callable[..., App]) -> App:
    return house()


def log_in(app: App, user: str = "ann", password: str = "apple", client: str = "127.0.0.1") -> Reply:
    body = urlencode({"user": user, "password": password}).encode()
    return ask(app, "POST", "/login", [HOST, FORM, ("content-length", str(len(body)))], [body], client)


def token_of(reply: Reply) -> str:
    return reply.header("set-cookie").split(";")[0]


def who(app: App, *headers: tuple[str, str]) -> Reply:
    return ask(app, "GET", "/who", [HOST, *headers])


def basic(user: str, password: str) -> tuple[str, str]:
    return "authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_nobody_is_let_in_without_a_login(app: App):
    answer = who(app)
    assert answer.status == 401
    assert answer.json()["code"] == "login"
    assert ask(app, "GET", "/nowhere").status == 401


def test_a_browser_is_led_to_the_login_page(app: App):
    answer = ask(app, "GET", "/", [HOST, ("accept", "text/html,*/*")])
    assert (answer.status, answer.header("location")) == (303, "/login")
    page = ask(app, "GET", "/login")
    assert page.status == 200
    assert b'<form method="post" action="/login">' in page.body


def test_a_link_from_another_site_leads_there_by_a_request_of_our_own(app: App):
    answer = ask(app, "GET", "/", [HOST, ("accept", "text/html"), ("sec-fetch-site", "cross-site")])
    assert answer.status == 200
    assert b'content="0;url=/login"' in answer.body


def test_a_password_opens_a_session(app: App):
    answer = log_in(app)
    assert (answer.status, answer.header("location")) == (303, "/")
    attributes = answer.header("set-cookie").split("; ")[1:]
    assert attributes == ["Path=/", "Max-Age=604800", "HttpOnly", "SameSite=Strict"]
    assert who(app, ("cookie", token_of(answer))).json() == "ann"
    assert ask(app, "GET", "/login", [HOST, ("cookie", token_of(answer))]).header("location") == "/"


def test_the_cookie_of_an_encrypted_connection_is_for_such_alone(app: App):
    body = b"user=ann&password=apple"
    answer = ask(app, "POST", "/login", [HOST, FORM, ("x-forwarded-proto", "https")], [body])
    assert answer.header("set-cookie").endswith("; Secure")


@pytest.mark.parametrize(("user", "password"), [("ann", "pear"), ("eve", "apple"), ("ann", ""), ("", "")])
def test_a_wrong_password_is_told_and_names_nothing(app: App, user: str, password: str):
    answer = log_in(app, user, password)
    assert answer.status == 401
    assert b"This name and password are not known here." in answer.body
    assert answer.header("set-cookie") == ""


def test_the_name_that_was_typed_is_never_read_as_html(app: App):
    assert b"<script>" not in log_in(app, '"><script>alert(1)</script>').body


def test_programs_send_their_password_with_each_request(app: App):
    assert who(app, basic("bob", "pear")).json() == "bob"
    assert who(app, basic("bob", "pear")).json() == "bob"
    assert who(app, basic("bob", "apple")).status == 401
    assert who(app, ("authorization", "Basic !!!")).status == 401
    assert who(app, ("authorization", "Bearer x")).status == 401


def test_a_program_is_asked_for_its_password_and_a_page_is_not(app: App):
    assert who(app).header("www-authenticate") == 'Basic realm="Atelier"'
    assert who(app, ("sec-fetch-mode", "cors")).header("www-authenticate") == ""


@pytest.mark.parametrize("cookie", ["", "atelier_x=", "atelier_x=guess", "other=1", "\x00=;;=", 'atelier_x="'])
def test_a_cookie_that_was_not_given_out_opens_nothing(app: App, cookie: str):
    assert who(app, ("cookie", cookie)).status == 401


def test_a_token_is_worth_nothing_after_logging_out(app: App):
    cookie = ("cookie", token_of(log_in(app)))
    answer = ask(app, "POST", "/logout", [HOST, cookie])
    assert (answer.status, answer.header("location")) == (303, "/login")
    assert "Max-Age=0" in answer.header("set-cookie")
    assert who(app, cookie).status == 401


def test_a_session_ends_after_a_week(app: App, clock: Clock):
    cookie = ("cookie", token_of(log_in(app)))
    clock.now += LIFETIME - 1
    assert who(app, cookie).status == 200
    clock.now += 2
    assert who(app, cookie).status == 401


def test_a_session_outlives_a_restart(house: Callable[..., App]):
    cookie = ("cookie", token_of(log_in(house())))
    assert who(house(), cookie).json() == "ann"


def test_a_session_ends_with_its_password_or_its_user(house: Callable[..., App]):
    cookie = ("cookie", token_of(log_in(house())))
    assert who(house(ann="another", bob="pear"), cookie).status == 401
    assert who(house(bob="pear"), cookie).status == 401


def test_damaged_files_let_nobody_in_and_stop_nothing(house: Callable[..., App], tmp_path: Path):
    cookie = ("cookie", token_of(log_in(house())))
    for text in ("", "[]", "{", '{"a": 1}', '{"a": {"user": 1}}'):
        (tmp_path / "sessions.json").write_text(text)
        (tmp_path / "users.json").write_text(text)
        assert who(house(), cookie).status == 401
        assert log_in(house()).status == 303


def test_what_is_kept_opens_nothing_and_is_for_its_owner_alone(house: Callable[..., App], tmp_path: Path):
    token = token_of(log_in(house())).partition("=")[2]
    for name in ("users.json", "sessions.json"):
        file = tmp_path / name
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "apple" not in file.read_text()
        assert token not in file.read_text()


def test_a_hundred_wrong_tries_take_more_than_a_minute(app: App, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(passwords, "COST", 2)  # only the waiting counts here
    begun = clock.now
    for _ in range(100):
        while (answer := log_in(app, "ann", "wrong")).status == 429:
            clock.now += float(answer.header("retry-after"))
        assert answer.status == 401
    assert clock.now - begun > 90 * 60 - 200


def test_guessing_for_many_users_from_one_address_is_slow_as_well(app: App):
    answers = [log_in(app, f"user{number}", "wrong").status for number in range(7)]
    assert answers == [401] * 5 + [429] * 2


def test_guessing_for_one_user_from_many_addresses_is_slow_as_well(app: App):
    answers = [log_in(app, "ann", "wrong", client=f"10.0.0.{number}").status for number in range(7)]
    assert answers == [401] * 5 + [429] * 2


def test_basic_passwords_are_counted_too(app: App):
    for number in range(5):
        assert who(app, basic("ann", f"wrong{number}")).status == 401
    assert log_in(app).status == 429


def test_whoever_is_logged_in_stays_so_while_others_guess(app: App):
    cookie = ("cookie", token_of(log_in(app)))
    for _ in range(8):
        log_in(app, "ann", "wrong")
    assert who(app, cookie).status == 200


def test_a_right_password_forgives_what_was_before():
    throttle = Throttle(Clock())
    for _ in range(20):
        for _ in range(4):
            assert throttle.begin(["user ann"]) == 0
        throttle.succeeded(["user ann"])


def test_tries_that_come_at_once_are_all_counted():
    throttle = Throttle(Clock())
    assert [throttle.begin(["user ann"]) > 0 for _ in range(8)] == [False] * 5 + [True] * 3


def test_failures_are_forgotten_after_a_while():
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(5):
        throttle.begin(["user ann"])
    assert throttle.begin(["user ann"]) == 1.0
    clock.now += FORGOTTEN_AFTER + 1
    assert [throttle.begin(["user ann"]) for _ in range(5)] == [0.0] * 5


def test_a_verifier_accepts_its_password_alone():
    verifier = Verifier.of("correct horse")
    assert verifier.accepts("correct horse")
    assert not verifier.accepts("correct horse ")
    assert verifier.digest != Verifier.of("correct horse").digest


def test_without_login_everybody_is_the_one_owner():
    inner = FastAPI()

    @inner.get("/who")
    def who_is(user: str = Depends(current_user)) -> str:
        return user

    assert ask(Wall(inner, None), "GET", "/who").json() == "local"
    assert ask(inner, "GET", "/who").status == 401  # a route that nobody guards stays closed
