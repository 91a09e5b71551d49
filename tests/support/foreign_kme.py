"""KMEs of another make, as little of ETSI GS QKD 014 as a vendor could serve, and what such a make may do wrong.

A pair of them shares keys in one dict. Written against the standard, with nothing of ours, on Python's own HTTP server.
"""

import base64
import json
import os
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class ForeignKeys:
    """What the two KMEs of a pair share.

    `left`: how many keys there are still to give. `spoil`: changes an answer before it is sent, by the call's name.
    """

    left: int = 1_000_000
    waiting: dict[str, bytes] = field(default_factory=dict)
    made: list[bytes] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    callers: set[str] = field(default_factory=set)
    spoil: dict[str, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, call: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Return status and body of an answer."""
        with self.lock:
            self.calls.append(call)
            if call == "enc_keys":
                number, size = body.get("number", 1), body.get("size", 256)
                if number > self.left:
                    return 503, {"message": "no keys"}
                self.left -= number
                made = {str(uuid.uuid4()).upper(): os.urandom(size // 8) for _ in range(number)}
                self.waiting |= made
                self.made.extend(made.values())
                return 200, container(made)
            wanted = [entry["key_ID"].upper() for entry in body["key_IDs"]]
            if any(key_id not in self.waiting for key_id in wanted):
                return 400, {"message": "one or more keys specified are not found on KME"}
            # in another order than they were asked for
            return 200, container({key_id: self.waiting.pop(key_id) for key_id in reversed(wanted)})


def container(keys: dict[str, bytes]) -> dict[str, Any]:
    """Return keys as the standard's container, with members that only this make has."""
    return {
        "keys": [
            {"key_ID": key_id, "key": base64.b64encode(key).decode(), "key_extension": {"vendor": "acme"}}
            for key_id, key in keys.items()
        ],
        "vendor": {"model": 7},
    }


@contextmanager
def foreign_kme(keys: ForeignKeys, certificate: Path, key: Path, authority: Path, port: int = 0) -> Iterator[int]:
    """Serve one KME of a pair while the block runs; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            call = self.path.rsplit("/", 1)[1]
            subject = self.connection.getpeercert()["subject"]  # type: ignore[attr-defined]
            keys.callers.add(next(value for part in subject for name, value in part if name == "commonName"))
            status, answer = keys.answer(call, body)
            if call in keys.spoil:
                status, answer = keys.spoil[call](status, answer)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: Any) -> None: ...

    server = Server(("localhost", port), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    tls.load_verify_locations(authority)
    tls.verify_mode = ssl.CERT_REQUIRED
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
