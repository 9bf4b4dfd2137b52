"""From options to a running server, and to its end."""

from __future__ import annotations

import functools
import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

import webui
from webui.engine.client import EngineProcess
from webui.engine.interface import EngineFactory
from webui.engine.spawn import EngineOptions
from webui.ext.discover import HOME
from webui.runtime.prepare import Models
from webui.runtime.runtime import Runtime
from webui.runtime.settings import Settings
from webui.server.auth import Login
from webui.server.credentials import Credentials, gather
from webui.server.environment import installation_name, prepare
from webui.server.front import LOOPBACK, Front, say
from webui.server.guard import App
from webui.server.hosts import Hosts
from webui.server.memory_options import memory_of
from webui.server.model_options import missing_note
from webui.server.options import ServeOptions
from webui.server.passwords import Users
from webui.server.ports import open_socket
from webui.server.relay import Relay, Sources
from webui.server.sessions import Sessions
from webui.server.share import Share, ShareState, own_relay

NO_LINK = 3
# An open page holds a stream that never ends by itself.
LAST_WORDS = 2


@dataclass(frozen=True)
class Parts:
    """What draws, and with which models. None: the engine process, and the files below the models folder."""

    engine: EngineFactory | None = None
    models: Models | None = None


def serve(options: ServeOptions, parts: Parts | None = None) -> int:
    """Run the server until it is told to end; returns the exit code.

    Raises:
        AtelierError: it cannot start; the error says why.
    """
    parts = parts or Parts()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    credentials = gather(options.auth, options.auth_file, os.environ, exposed=options.exposed, no_auth=options.no_auth)
    relay = _relay(options)
    say(f"Atelier {webui.__version__} is starting.")
    if missing := missing_note(options.places):
        say(missing)
    try:
        with Runtime(settings_of(options), parts.engine or engine_of(options), parts.models) as runtime:
            return _run(options, runtime, credentials, relay)
    except KeyboardInterrupt:
        say("Stopped.")
        return 0


def settings_of(options: ServeOptions) -> Settings:
    names = ("output_dir", "data_dir", "device", "dtype", "default_model")
    return Settings(
        models_dir=options.places.models_dir,
        extra=options.places.extra,
        hashing=not options.no_hashing,
        **{name: getattr(options, name) for name in names},
        extensions_dirs=(HOME, *options.extensions_dir),
        extensions_locked=options.exposed and not options.allow_remote_extensions,
        exposed=options.exposed,
        offline=options.offline,
    )


def engine_of(options: ServeOptions) -> EngineFactory:
    engine = EngineOptions(
        options.places, options.device, options.dtype, options.unet_storage, options.preview,
        extensions=(HOME, *options.extensions_dir), data_dir=options.data_dir, memory=memory_of(options),
    )  # fmt: skip
    return functools.partial(EngineProcess, engine)


class Server(uvicorn.Server):
    """Says when it is ready, and may be ended with an exit code of its own."""

    def __init__(self, app: App) -> None:
        # proxy_headers would let anybody behind the tunnel name the address that the throttle counts
        config = uvicorn.Config(
            app, log_config=None, log_level="warning", access_log=False, proxy_headers=False, server_header=False,
            timeout_graceful_shutdown=LAST_WORDS, timeout_keep_alive=30, ws="none",
        )  # fmt: skip
        super().__init__(config)
        self.when_ready: list[Callable[[], None]] = []
        self.exit_code = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            for tell in self.when_ready:
                tell()

    def end(self, exit_code: int) -> None:
        """From any thread."""
        self.exit_code = exit_code
        self.should_exit = True


def _run(options: ServeOptions, runtime: Runtime, credentials: Credentials, relay: Relay | None) -> int:
    prepare(options.data_dir)
    hosts = Hosts(options.allowed_host + _own_names(options), any_address=options.listen is not None)
    listener = open_socket(options.listen or LOOPBACK, options.port)
    front = Front(options, credentials, listener.getsockname()[1])
    server = Server(_build(runtime, hosts, _login(options, credentials), front))
    server.when_ready.append(front.announce)
    share = _share(options, hosts, front, server, relay) if options.share or options.share_required else None
    try:
        server.run(sockets=[listener])
    finally:
        if share is not None:
            share.stop()
    return server.exit_code


def _build(runtime: Runtime, hosts: Hosts, login: Login | None, front: Front) -> App:
    """The application. Gradio takes seconds to import, so that happens here, while the engine starts beside it."""
    from webui.server.app import Faces, build_app
    from webui.ui.page import build_page, mount_options

    page = build_page(runtime, {"version": webui.__version__})
    return build_app(Faces(runtime, page, mount_options(), hosts, login, front.status))


def _login(options: ServeOptions, credentials: Credentials) -> Login | None:
    if not credentials.passwords:
        return None
    users = Users(options.data_dir / "users.json", credentials.passwords)
    sessions = Sessions(options.data_dir / "sessions.json")
    return Login(users, sessions, f"atelier_{installation_name(options.data_dir)}")


def _relay(options: ServeOptions) -> Relay | None:
    if options.share_server is None:
        return None
    return own_relay(options.share_server, options.share_certificate, options.share_insecure)


def _share(options: ServeOptions, hosts: Hosts, front: Front, server: Server, relay: Relay | None) -> Share:
    """The public link, opened as soon as the server is ready."""

    def tell(state: ShareState) -> None:
        front.tell_link(state)
        if state.final and options.share_required:
            server.end(NO_LINK)

    share = Share(front.port, options.data_dir / "tunnel", hosts, tell, Sources.of_gradio(), relay)
    front.link = share.state
    server.when_ready.append(share.start)
    return share


def _own_names(options: ServeOptions) -> tuple[str, ...]:
    """The names of this machine in its network, where it listens there."""
    if options.listen is None:
        return ()
    name = socket.gethostname().lower()
    return name, f"{name.partition('.')[0]}.local", options.listen.lower()
