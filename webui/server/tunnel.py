"""The running tunnel of a public link."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path

from webui.runtime.files import write_atomically
from webui.server.relay import CHECK_CONNECTION, Deadline, Relay, ShareError

LEASH = Path(__file__).with_name("leash.py")


class Tunnel:
    """The running program. Ends with this process, however that ends."""

    def __init__(self, program: Path, relay: Relay, port: int, folder: Path) -> None:
        certificate: list[str] = []
        if relay.certificate is not None:
            path = folder / "certificate.pem"
            write_atomically(path, relay.certificate.encode())
            certificate = ["--tls_enable", "--tls_trusted_ca_file", str(path)]
        command = [
            str(program), "http", "-n", secrets.token_urlsafe(24), "-l", str(port), "-i", "127.0.0.1", "--uc",
            "--sd", "random", "--ue", "--server_addr", f"{relay.host}:{relay.port}", "--disable_log_color",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(LEASH), *command, *certificate],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._changed = threading.Condition()
        self._lines: deque[str] = deque(maxlen=20)
        self._ended = False
        self.url = ""
        self._reader = threading.Thread(target=self._read, daemon=True, name="tunnel")
        self._reader.start()

    def wait_for_url(self, deadline: Deadline) -> None:
        """Until the link is there. Raises ShareError when the program ends, is refused, or says nothing in time."""
        with self._changed:
            while not (self.url or self._ended or self._refusal() or deadline.over):
                self._changed.wait(deadline.left)
            url, ended, refusal = self.url, self._ended, self._refusal()
        if url:
            return
        self.close()
        if refusal:
            raise ShareError(f"The tunnel server refused: {refusal}", "Try again later, or update Atelier.")
        if ended:
            raise ShareError(f"The tunnel program ended at once ({self.last_words()}).", CHECK_CONNECTION)
        raise ShareError("The tunnel program did not get a connection in time.", CHECK_CONNECTION)

    def wait_for_change(self, url: str) -> str:
        """The next public address (the program connects anew by itself); nothing when it has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self.url != url)
            return "" if self._ended else self.url

    def last_words(self) -> str:
        """Exit code and the last line it wrote."""
        said = f": {self._lines[-1]}" if self._lines else ""
        return f"exit code {self._process.wait()}{said}"

    def close(self) -> None:
        """End the program."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _refusal(self) -> str:
        return next((line for line in self._lines if "login to server failed" in line), "")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.decode(errors="replace").strip()
            found = re.search(r"start proxy success: (https?://\S+)", text)
            with self._changed:
                self._lines.append(text)
                self.url = found[1] if found else self.url
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
