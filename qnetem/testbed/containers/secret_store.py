"""qnetem.testbed.containers.secret_store: Secrets of the namespace that a pod runs in. Edge: HTTPS.

The few calls that are needed, by the token that Kubernetes mounts: no client library has to be in the image.
"""

import base64
import json
import os
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from qnetem.runtime.errors import NotFoundError, StorageError

__all__ = ["SecretStore", "Stored"]

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PATIENCE_S: Final = 30.0
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409


@dataclass(frozen=True, slots=True)
class Stored:
    """A Secret's only value, and the version of the Secret."""

    data: bytes
    version: str


@dataclass(frozen=True)
class SecretStore:
    """Reads and writes Secrets of one value each.

    Attributes:
        url: "https://host:port" of the API server.
        namespace: Whose Secrets.
        token_path: The pod's token; it is read anew for each call, for it is replaced now and then.
        context: Whom to trust.
        key: Name of the value in each Secret.
    """

    url: str
    namespace: str
    token_path: Path
    context: ssl.SSLContext
    key: str

    @classmethod
    def of_this_pod(cls, key: str) -> Self:
        """Return the store that the pod's service account has access to.

        Raises:
            StorageError: This is no pod, or it has no such account.
        """
        try:
            host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
            context = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
            namespace = (_ACCOUNT / "namespace").read_text()
        except (KeyError, OSError) as error:
            raise StorageError(f"not in a pod with a service account: {error}") from None
        return cls(
            f"https://{f'[{host}]' if ':' in host else host}:{port}", namespace, _ACCOUNT / "token", context, key
        )

    def read(self, name: str) -> Stored:
        """Return what a Secret holds.

        Raises:
            NotFoundError: There is none of this name.
            StorageError: It cannot be read, or is not one of ours.
        """
        content = self._call("GET", name, None)
        if content is None:
            raise NotFoundError(f"Secret {name}: there is none")
        try:
            return Stored(base64.b64decode(content["data"][self.key]), content["metadata"]["resourceVersion"])
        except (KeyError, TypeError, ValueError):
            raise StorageError(f"Secret {name}: holds no {self.key}") from None

    def create(self, name: str, data: bytes, *, is_final: bool) -> bool:
        """Make a Secret; return whether it was not there before. One that is there stays as it is.

        Args:
            name: Its name.
            data: What it holds.
            is_final: It cannot be changed any more.

        Raises:
            StorageError: It cannot be made.
        """
        return self._call("POST", "", {**self._content(name, data), "immutable": is_final}, name) is not None

    def replace(self, name: str, data: bytes, version: str) -> None:
        """Replace what a Secret held when it had this version.

        Raises:
            StorageError: It has another by now, or cannot be written.
        """
        content = self._content(name, data)
        content["metadata"]["resourceVersion"] = version
        if self._call("PUT", name, content) is None:
            raise StorageError(f"Secret {name}: somebody else has written it meanwhile")

    def _content(self, name: str, data: bytes) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "data": {self.key: base64.b64encode(data).decode()},
        }

    def _call(self, method: str, name: str, content: dict[str, Any] | None, about: str = "") -> Any:
        """Return the answer; None: there is no such Secret to read, or another to be written."""
        url = f"{self.url}/api/v1/namespaces/{self.namespace}/secrets" + (f"/{name}" if name else "")
        body = None if content is None else json.dumps(content).encode()
        try:
            headers = {
                "Authorization": f"Bearer {self.token_path.read_text().strip()}",
                "Content-Type": "application/json",
            }
            request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 (https, from the pod's own environment)
            with urllib.request.urlopen(request, timeout=_PATIENCE_S, context=self.context) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == (_NOT_FOUND if method == "GET" else _CONFLICT):
                    return None
                # its body may repeat what was sent
                raise StorageError(f"Secret {name or about}: {method} answers {error.code} {error.reason}") from None
        except (OSError, ValueError) as error:
            raise StorageError(f"Secret {name or about}: {error}") from None
