"""qnetem.testbed.containers.pods: what a pod of each process runs, mounts and is let do. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from qnetem.testbed.containers.services import (
    HEARTBEAT,
    HEARTBEAT_TEST,
    HOME,
    MOSQUITTO,
    MQTT_TEST,
    OPERATOR,
    USER,
    Limits,
    command,
    entrypoint,
    limits,
)
from qnetem.testbed.plan import ProcessPlan
from qnetem.v1 import process_pb2

__all__ = ["ARCHIVE", "AUTHORITY", "PKI", "PROCESS", "Naming", "job_pod", "operator_pod", "pod"]

# labels
PROCESS: Final = "qnetem/process"
_TESTBED: Final = "qnetem/testbed"
PKI: Final = "pki"
# the Secret with all that is secret, which the pki alone reads
AUTHORITY: Final = "authority"
# the one key of each Secret
ARCHIVE: Final = "volume.tar.gz"
_STOP_S: Final = 10


@dataclass(frozen=True, slots=True)
class Naming:
    """Names that all manifests of a testbed share.

    Attributes:
        testbed: The topology's name.
        image: What ours run in.
        mark: Of topology, version and image: what must not change in place is called anew when they do.
    """

    testbed: str
    image: str
    mark: str

    @property
    def namespace(self) -> str:
        """Return the namespace, which the testbed has for itself."""
        return f"qnetem-{self.testbed}"

    def secret(self, service: str) -> str:
        """Return the Secret that holds what is a service's own."""
        return f"{service}-{self.mark}"

    def labels(self, service: str) -> dict[str, str]:
        """Return the labels of what belongs to a service."""
        return {_TESTBED: self.testbed, PROCESS: service}


def pod(naming: Naming, plan: ProcessPlan) -> dict[str, Any]:
    """Return the pod template of a process."""
    is_broker = plan.kind == process_pb2.PROCESS_KIND_BROKER
    words = list(command(naming.testbed, plan))
    test = ["sh", "-c", MQTT_TEST if is_broker else HEARTBEAT_TEST]
    container = {
        "name": "process",
        "image": MOSQUITTO if is_broker else plan.image or naming.image,
        # the image's own entry point makes ready what its read-only root cannot hold
        **({"command": words} if is_broker else {"args": words}),
        **({"command": list(instead)} if (instead := entrypoint(plan)) else {}),
        **({"env": [{"name": "QNETEM_HEARTBEAT", "value": HEARTBEAT}]} if plan.image is not None else {}),
        "startupProbe": _probe(test, period_s=2, failures=60),
        "readinessProbe": _probe(test, period_s=5, failures=2),
        "livenessProbe": _probe(test, period_s=5, failures=3),
        "resources": _resources(limits(plan)),
        "securityContext": _CONFINED,
        "volumeMounts": [_OWN, *_IN_MEMORY_MOUNTS],
    }
    return _template(naming, plan.name, _filled(naming, plan.name, container))


def operator_pod(naming: Naming) -> dict[str, Any]:
    """Return the pod template in which somebody at a command line reaches everybody."""
    container = {
        "name": "process",
        "image": naming.image,
        "command": ["sleep", "infinity"],
        "workingDir": "/credentials",
        "env": [{"name": "QNETEM_TOPOLOGY", "value": str(HOME / "topology.yaml")}],
        "resources": _resources(Limits("384M", 128)),
        "securityContext": _CONFINED,
        "volumeMounts": [_OWN, {"name": "credentials", "mountPath": "/credentials"}, *_IN_MEMORY_MOUNTS],
    }
    spec = _filled(naming, OPERATOR, container)
    spec["terminationGracePeriodSeconds"] = 1
    spec["volumes"] += [{"name": "own", "emptyDir": {}}, _in_memory("credentials")]
    return _template(naming, OPERATOR, spec)


def job_pod(naming: Naming) -> dict[str, Any]:
    """Return the pod template that makes what is secret and leaves to each process what is its own."""
    container = {
        "name": PKI,
        "image": naming.image,
        "args": ["python", "-m", "qnetem.testbed.containers.publishing", "--mark", naming.mark],
        "resources": _resources(Limits("512M", 32)),
        "securityContext": _CONFINED,
        "volumeMounts": [
            {"name": "topology", "mountPath": str(HOME / "topology.yaml"), "subPath": "topology.yaml"},
            {"name": "made", "mountPath": str(HOME / ".qnetem")},
            {"name": "volumes", "mountPath": "/volumes"},
            *_IN_MEMORY_MOUNTS,
        ],
    }
    spec = {
        **_spec([container]),
        "automountServiceAccountToken": True,
        "serviceAccountName": PKI,
        "restartPolicy": "OnFailure",
        "volumes": [
            {"name": "topology", "configMap": {"name": naming.secret("topology")}},
            *(_in_memory(name) for name in ("made", "volumes", "run", "tmp")),
        ],
    }
    return _template(naming, PKI, spec)


_CONFINED: Final[Mapping[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_OWN: Final = {"name": "own", "mountPath": str(HOME)}
_IN_MEMORY_MOUNTS: Final = (
    {"name": "run", "mountPath": "/run/qnetem"},
    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (of a container)
)


def _template(naming: Naming, service: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"metadata": {"labels": naming.labels(service)}, "spec": dict(spec)}


def _spec(containers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        # a service's name must not become a variable of its neighbours
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _STOP_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            # a claim's files keep their modes
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": list(containers),
    }


def _filled(naming: Naming, service: str, container: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of a pod whose volume gets first what the Secret of its service holds."""
    unpack = {
        "name": "unpack",
        "image": naming.image,
        "command": ["tar", "-xzf", f"/secret/{ARCHIVE}", "-C", str(HOME)],
        "resources": _resources(Limits("128M", 16)),
        "securityContext": _CONFINED,
        "volumeMounts": [_OWN, {"name": "secret", "mountPath": "/secret", "readOnly": True}],
    }
    return {
        **_spec([container]),
        "initContainers": [unpack],
        "volumes": [
            # the pod waits until the pki has made it
            {"name": "secret", "secret": {"secretName": naming.secret(service), "defaultMode": 0o400}},
            _in_memory("run"),
            _in_memory("tmp"),
        ],
    }


def _in_memory(name: str) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"medium": "Memory"}}


def _probe(test: Sequence[str], *, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "exec": {"command": list(test)},
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _resources(most: Limits) -> dict[str, Any]:
    # Docker's M and G are powers of two
    memory = f"{most.memory}i"
    return {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": f"{most.cpus:g}", "memory": memory}}
