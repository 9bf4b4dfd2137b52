"""What can go wrong on the way of a file from another machine."""

from __future__ import annotations

from webui.schema.errors import AtelierError


class FetchError(AtelierError):
    """A file that cannot be fetched, or came out other than declared."""

    code = "not_fetched"
    status = 502


class Offline(FetchError):
    """The user wants that nothing is asked of the network."""

    code = "offline"
    status = 409

    def __init__(self, what: str, by_hand: str = "") -> None:
        super().__init__(
            f"{what} was not fetched: this program is told to stay offline.",
            by_hand or "Start it without --offline and HF_HUB_OFFLINE, or put the file into its folder yourself.",
        )


class Address(FetchError):
    """An address that is not asked: no https, or a machine that this user has no business with."""

    code = "bad_address"
    status = 422


class Denied(FetchError):
    """The other machine wants to know who asks."""

    code = "login_wanted"
    status = 502
