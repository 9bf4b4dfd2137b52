"""An engine child without models: it says `ready`, then does to each job what the job's prompt says."""

from __future__ import annotations

import os
import signal
import sys
import time

from webui.engine.wire import Wire

RED = bytes((255, 0, 0)) * 64
heard: list[str] = []


def main() -> None:
    wire = Wire(sys.stdin.buffer, sys.stdout.buffer)
    if "unusable" in sys.argv:
        wire.send({"type": "unusable", "error": {"code": "bad_request", "message": "no such device", "cure": "cpu"}})
        return
    wire.send({"type": "ready", "device": "stub"})
    while (message := wire.receive()) is not None:
        if message.body["type"] == "job":
            serve(wire, message.body["job_id"], message.body["request"]["prompt"], message.frames)
        elif message.body["type"] == "extensions":
            wire.send({"type": "restart", "reason": "an extension left something behind when it was switched off"})
            time.sleep(0.3)
            os._exit(0)
        elif message.body["type"] == "ask":
            answer(wire, message.body["id"], message.body["body"], message.frames)
        elif message.body["type"] == "held":
            heard.extend(f"held: {id}" for id in message.body["held"]["faults"])
        elif message.body["type"] == "died":
            heard.append(f"{message.body['job_id']}: {message.body['error']['code']}")


def answer(wire: Wire, id: str, body: dict[str, object], frames: tuple[bytes, ...]) -> None:
    wire.send({"type": "asking", "id": id})
    if body.get("wish") == "exit":
        os._exit(7)
    if body.get("wish") == "hang":
        wire.send({"type": "call", "kind": f"preprocess {body['unit']}", "seconds": None})
        time.sleep(600)
    if body.get("wish") == "fail":
        error = {"code": "bad_request", "message": "no such preprocessor", "cure": ""}
        wire.send({"type": "answer", "id": id, "answer": {"error": error}})
        return
    wire.send({"type": "answer", "id": id, "answer": {"body": {"heard": heard, **body}, "sizes": [[8, 8]]}}, frames)


def serve(wire: Wire, job_id: str, wish: str, frames: tuple[bytes, ...]) -> None:
    event(wire, {"type": "started", "job_id": job_id})
    if wish == "exit":
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(7)
    if wish == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if wish == "garbage":
        sys.stdout.buffer.write(b"\xff" * 64)
        sys.stdout.buffer.flush()
    if wish == "hang":
        wire.send({"type": "call", "kind": "Denoise", "seconds": None})
        time.sleep(600)
    if wish == "wait for cancel":
        message = wire.receive()
        interrupted = message is not None and message.body["mode"] == "interrupt"
        event(wire, {"type": "done", "job_id": job_id, "interrupted": interrupted})
        return
    if wish == "long":
        note(wire, job_id, "it is long")
        picture(wire, job_id, 0, frames)
        if not answer_on(wire):
            event(wire, {"type": "done", "job_id": job_id, "interrupted": True})
            return
        picture(wire, job_id, 1, frames)
        event(wire, {"type": "done", "job_id": job_id})
        return
    if wish == "leak":
        fault = {"reason": "left something behind", "content": "1"}
        wire.send({"type": "held", "held": {"faults": {"leaky": fault}, "closely": False}})
        wire.send({"type": "restart", "reason": "torch.cat was replaced"})
        event(wire, {"type": "done", "job_id": job_id})
        time.sleep(0.2)
        os._exit(0)
    picture(wire, job_id, 0, frames)
    event(wire, {"type": "done", "job_id": job_id})


def answer_on(wire: Wire) -> bool:
    """Answer questions until one asks for the end (True) or the job is cancelled (False)."""
    while (message := wire.receive()) is not None and message.body["type"] == "ask":
        answer(wire, message.body["id"], message.body["body"], message.frames)
        if message.body["body"].get("wish") == "end":
            return True
    return False


def note(wire: Wire, job_id: str, text: str) -> None:
    event(wire, {"type": "note", "job_id": job_id, "message": text})


def picture(wire: Wire, job_id: str, index: int, frames: tuple[bytes, ...]) -> None:
    image = {"type": "image", "job_id": job_id, "index": index, "seed": len(frames), "subseed": 0}
    event(wire, {**image, "width": 8, "height": 8, "prompt": "red", "negative_prompt": ""}, RED)


def event(wire: Wire, body: dict[str, object], *frames: bytes) -> None:
    wire.send({"type": "event", "event": body}, frames)


if __name__ == "__main__":
    main()
