"""The main job of qnetem in a minute: a network of three nodes makes keys, loses a node, and gets it back.

Runs the same commands as a user would type, in a temporary folder, and takes everything down at the end.
"""

import hmac
import json
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64decode
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
QNETEM = Path(sys.executable).parent / "qnetem"
DEADLINE_S = 60.0


class DemoError(Exception):
    """Something did not happen as it should."""


def say(text: str) -> None:
    """Tell what comes next."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def qnetem(*arguments: str, is_quiet: bool = False) -> str:
    """Run a command of qnetem in the demo's folder and return what it prints."""
    if not is_quiet:
        print(f"$ qnetem {' '.join(arguments)}", flush=True)
    run = subprocess.run([str(QNETEM), *arguments], stdout=subprocess.PIPE, text=True, cwd=folder, check=False)
    if not is_quiet:
        print(run.stdout, end="", flush=True)
    if run.returncode != 0:
        raise DemoError(f"qnetem {' '.join(arguments)} ended with {run.returncode}")
    return run.stdout


class Sae:
    """A client of keys: any HTTP client with the exported certificate would do."""

    def __init__(self, exported: Path) -> None:
        """Use what `qnetem sae export` wrote."""
        about = json.loads((exported / "sae.json").read_text())
        self.sae_id: str = about["sae_id"]
        self._url: str = about["kme_url"]
        self._tls = ssl.create_default_context(cafile=exported / "ca.pem")
        self._tls.load_cert_chain(exported / "cert.pem", exported / "key.pem")

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST to the KME."""
        request = urllib.request.Request(  # noqa: S310 - https, from our own export
            f"{self._url}/api/v1/keys/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=10) as response:  # noqa: S310
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            raise DemoError(f"{self.sae_id}: {error.code} {json.load(error)['message']}") from None

    def new_key(self, slave: str) -> tuple[str, bytes]:
        """Return the id and value of a new key that is shared with `slave`."""
        print(f"$ curl --cert {self.sae_id}/cert.pem ... {self._url}/api/v1/keys/{slave}/enc_keys", flush=True)
        key = self.ask(f"{slave}/enc_keys", {"number": 1, "size": 256})["keys"][0]
        print(f"  key_ID {key['key_ID']}", flush=True)
        return key["key_ID"], b64decode(key["key"])

    def same_key(self, master: str, key_id: str) -> bytes:
        """Return the value of the key that `master` has."""
        print(f"$ curl --cert {self.sae_id}/cert.pem ... {self._url}/api/v1/keys/{master}/dec_keys", flush=True)
        return b64decode(self.ask(f"{master}/dec_keys", {"key_IDs": [{"key_ID": key_id}]})["keys"][0]["key"])


def node_of(name: str) -> dict[str, Any]:
    """Return a process as `inspect -f json` tells it."""
    processes = json.loads(qnetem("inspect", "-f", "json", is_quiet=True))["processes"]
    return next(process for process in processes if process["name"] == name)


def wait_until(what: str, condition: Any) -> None:
    """Wait until something holds."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise DemoError(f"{what} did not happen within {DEADLINE_S:.0f} s")
        time.sleep(0.2)


def compare(one: bytes, other: bytes) -> None:
    """Say whether two keys are equal, never what they are."""
    if not hmac.compare_digest(one, other):
        raise DemoError("the two keys differ")
    print(f"  both ends hold the same {len(one) * 8} bits", flush=True)


def demo() -> None:
    """Run the demo."""
    say("1. Bring up a triangle of three nodes, each a process of its own, and wait until its links are in service.")
    qnetem("up", "--wait")
    qnetem("inspect")

    say("2. Two clients get the same key at two ends, over ETSI GS QKD 014 with their certificates.")
    qnetem("sae", "export", "app-1", "-o", "app-1")
    qnetem("sae", "export", "app-2", "-o", "app-2")
    app_1, app_2 = Sae(folder / "app-1"), Sae(folder / "app-2")
    first_id, first = retried(lambda: app_1.new_key("app-2"))
    compare(first, app_2.same_key("app-1", first_id))

    say("3. A key that bob's client has not fetched yet; then bob's process is killed (kill -9).")
    second_id, second = app_1.new_key("app-2")
    before, blocks_before = node_of("bob"), blocks_of("alice-bob")
    qnetem("kill", "bob")
    wait_until("bob's restart", lambda: (now := node_of("bob"))["pid"] != before["pid"] and now["state"] == "HEALTHY")
    print(f"  bob was pid {before['pid']}, is pid {node_of('bob')['pid']}", flush=True)

    say("4. Bob is back with what he acknowledged: the key made before the kill is served.")
    compare(second, app_2.same_key("app-1", second_id))

    say("5. His links resynchronise by themselves, and keys are made again.")
    wait_until("service", lambda: all(link["state"] == "OPERATING" for link in links()))
    wait_until("a new key block", lambda: blocks_of("alice-bob") > blocks_before)
    print(f"  blocks made on alice-bob: {blocks_before} before the kill, {blocks_of('alice-bob')} now", flush=True)
    third_id, third = retried(lambda: app_1.new_key("app-2"))
    compare(third, app_2.same_key("app-1", third_id))
    qnetem("inspect")


def links() -> list[dict[str, Any]]:
    """Return the links as `inspect -f json` tells them."""
    told: list[dict[str, Any]] = json.loads(qnetem("inspect", "-f", "json", is_quiet=True))["links"]
    return told


def blocks_of(link_id: str) -> int:
    """Return how many key blocks the transmitter of a link has made: the receiver's count dies with the receiver."""
    ends = next(link["ends"] for link in links() if link["link_id"] == link_id)
    return next(int(end["blocks_made_count"]) for end in ends.values() if end["role"] == "transmitter")


def retried(ask: Any) -> Any:
    """Ask until the first block of key is there: a link that has come into service has none yet."""
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        try:
            return ask()
        except DemoError:
            if time.monotonic() > deadline_s:
                raise
            print("  no key yet", flush=True)
            time.sleep(0.5)


if __name__ == "__main__":
    started_s = time.monotonic()
    code = 1
    with tempfile.TemporaryDirectory(prefix="qnetem-demo-") as temporary:
        folder = Path(temporary)
        shutil.copy(ROOT / "topologies" / "metro.yaml", folder)
        try:
            demo()
            code = 0
        except DemoError as error:
            print(f"demo: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print("demo: interrupted", file=sys.stderr)
        finally:
            say("Take everything down.")
            down = subprocess.run([str(QNETEM), "down"], cwd=folder, check=False)
            code = code or down.returncode
    if code == 0:
        print(f"\nAll as it should be, in {time.monotonic() - started_s:.0f} s.")
    sys.exit(code)
