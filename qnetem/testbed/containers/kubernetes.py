"""qnetem.testbed.containers.kubernetes: a testbed as manifests for Kubernetes, the same bytes every time. Pure."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import yaml

from qnetem import __version__
from qnetem.runtime.errors import BadInputError
from qnetem.testbed.containers.networks import networks, refuse_undiallable, service_ports
from qnetem.testbed.containers.pods import AUTHORITY, PKI, PROCESS, Naming, job_pod, operator_pod, pod
from qnetem.testbed.containers.policies import network_policies
from qnetem.testbed.containers.rendering import header, standing_alone
from qnetem.testbed.containers.services import OPERATOR, refuse_what_cannot_be
from qnetem.testbed.plan import ProcessPlan, planned
from qnetem.topology.model import Topology

__all__ = ["kubernetes_files"]

_MARK_DIGITS: Final = 10
# a StatefulSet's name and the digits of its revision make one label of 63
_LONGEST_NAME: Final = 52
# of a namespace, without its "qnetem-"
_LONGEST_TESTBED: Final = 56
_STORAGE: Final = "1Gi"
# nothing is ever dialled in it: what counts is who is in which network
_POOL: Final = "10.0.0.0/8"


def kubernetes_files(topology: Topology, source: str, text: str, image: str | None = None) -> dict[str, str]:
    """Return the manifests, by file name, in the order in which they are applied.

    Args:
        topology: What is to run.
        source: Name of its file, for the header.
        text: What that file says.
        image: What processes of ours run in; None: the image of this version.

    Raises:
        BadInputError: The topology cannot be carried into containers, or a name cannot be one of a Service.
    """
    processes, _ = planned(topology)
    refuse_what_cannot_be(topology, processes)
    refuse_undiallable(processes)
    for name in processes:
        if not name[0].isalpha() or len(name) > _LONGEST_NAME:
            raise BadInputError(
                f"a process is called {name}: on Kubernetes names begin with a letter and have at most "
                f"{_LONGEST_NAME} characters"
            )
    if len(topology.name) > _LONGEST_TESTBED:
        raise BadInputError(f"name: {topology.name} has more than the {_LONGEST_TESTBED} characters of a namespace")
    runs_in = image or f"qnetem:{__version__}"
    head = header(topology, source)
    mark = hashlib.sha256(f"{__version__} {topology.digest} {runs_in}".encode()).hexdigest()[:_MARK_DIGITS]
    naming = Naming(topology.name, runs_in, mark)
    ports = _ports(topology, processes)
    nets = networks(topology, processes, _POOL)
    told = f"{head}\n{standing_alone(topology, text)}"
    files: dict[str, Iterable[Mapping[str, Any]]] = {
        "00-namespace.yaml": [_namespace(naming)],
        "10-policies.yaml": network_policies(
            naming, processes, nets, {name: sorted(own.values()) for name, own in ports.items()}
        ),
        "20-pki.yaml": _pki(naming, told),
        "30-services.yaml": (_service(naming, name, own) for name, own in ports.items()),
        "40-processes.yaml": _processes(naming, processes),
        "50-budget.yaml": [_budget(naming, processes)],
    }
    return {name: _text(head, naming, documents) for name, documents in files.items()}


def _ports(topology: Topology, processes: Mapping[str, ProcessPlan]) -> dict[str, dict[str, int]]:
    """Return the ports of each process by their names."""
    ports: dict[str, dict[str, int]] = {name: {} for name in processes}
    for key, port in service_ports(topology, processes).items():
        process, _, listener = key.partition("/")
        # those of a classical channel are named by link and node, which may be long
        ports[process][f"path-{port}" if "/" in listener else listener] = port
    return ports


def _namespace(naming: Naming) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": naming.namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }


def _pki(naming: Naming, told: str) -> Iterator[dict[str, Any]]:
    subject = {"kind": "ServiceAccount", "name": PKI}
    yield {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": PKI},
        "automountServiceAccountToken": False,
    }
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": PKI},
        "rules": [
            # `create` cannot be confined to names; it reads and replaces nothing but its own
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "update"], "resourceNames": [AUTHORITY]},
        ],
    }
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": PKI},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": PKI},
        "subjects": [{**subject, "namespace": naming.namespace}],
    }
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": naming.secret("topology")},
        "immutable": True,
        "data": {"topology.yaml": told},
    }
    yield {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": naming.secret(PKI)},
        "spec": {"backoffLimit": 6, "template": job_pod(naming)},
    }


def _service(naming: Naming, name: str, ports: Mapping[str, int]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": naming.labels(name)},
        "spec": {
            "type": "ClusterIP",
            # who starts is dialled while it starts: a link is a matter of two ends, health of one
            "publishNotReadyAddresses": True,
            "selector": naming.labels(name),
            "ports": [{"name": one, "port": port, "protocol": "TCP"} for one, port in ports.items()],
        },
    }


def _processes(naming: Naming, processes: Mapping[str, ProcessPlan]) -> Iterator[dict[str, Any]]:
    for name, plan in processes.items():
        claim = {
            "metadata": {"name": "own"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": _STORAGE}}},
        }
        yield _stateful_set(naming, name, pod(naming, plan), {"volumeClaimTemplates": [claim]})
    yield _stateful_set(naming, OPERATOR, operator_pod(naming), {})


def _stateful_set(naming: Naming, name: str, template: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    labels = naming.labels(name)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 1,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": labels},
            "template": template,
            **more,
        },
    }


def _budget(naming: Naming, processes: Iterable[str]) -> dict[str, Any]:
    """Return one budget for all: machines are drained of one process at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "processes"},
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchExpressions": [{"key": PROCESS, "operator": "In", "values": [*processes]}]},
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes what readers like: no anchors, and text of several lines as such."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _as_block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _as_block)


def _text(head: str, naming: Naming, documents: Iterable[Mapping[str, Any]]) -> str:
    parts = []
    for document in documents:
        if document["kind"] != "Namespace":
            metadata = {"name": document["metadata"]["name"], "namespace": naming.namespace, **document["metadata"]}
            document = {**document, "metadata": metadata}
        parts.append(yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True))
    return f"{head}\n" + "---\n".join(parts)
