"""qnetem.testbed.containers.policies: who may talk to whom in a namespace, by the networks of a project. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from qnetem.testbed.containers.networks import Network
from qnetem.testbed.containers.pods import PKI, PROCESS, Naming
from qnetem.testbed.containers.services import OPERATOR
from qnetem.testbed.plan import ProcessPlan
from qnetem.v1 import process_pb2

__all__ = ["CALLER", "network_policies"]

# label of pods of anybody's that may call in: "sae" or "prometheus"
CALLER: Final = "qnetem/caller"
_HTTPS: Final = 8443
_METRICS: Final = 9100
_API_PORTS: Final = (443, 6443)


def network_policies(
    naming: Naming, processes: Mapping[str, ProcessPlan], nets: Mapping[str, Network], ports: Mapping[str, list[int]]
) -> Iterator[dict[str, Any]]:
    """Yield the policies: nobody talks to anybody, but for those who share a network, on ports of theirs.

    Args:
        naming: Names of the testbed.
        processes: All of them.
        nets: Their networks; addresses are of no account.
        ports: By process, ascending.
    """
    yield _policy("nobody", {}, {"ingress": [], "egress": []})
    yield _policy("names", {}, {"egress": [{"to": [_DNS], "ports": [_port(53, "UDP"), _port(53)]}]})
    together: dict[str, set[str]] = {name: set() for name in processes}
    for net in nets.values():
        for name in net.addresses:
            together[name] |= net.addresses.keys()
    for name, plan in processes.items():
        neighbours = [other for other in processes if other in together[name] and other != name]
        calling: list[dict[str, Any]] = [
            {"from": [_named(one) for one in (*neighbours, OPERATOR)], "ports": list(_ranges(ports[name]))}
        ]
        if plan.kind == process_pb2.PROCESS_KIND_NODE:
            calling.append({"from": [_caller("sae")], "ports": [_port(_HTTPS)]})
        if _METRICS in ports[name]:
            calling.append({"from": [_caller("prometheus")], "ports": [_port(_METRICS)]})
        called = [{"to": [_named(one) for one in neighbours]}] if neighbours else []
        yield _policy(name, naming.labels(name), {"ingress": calling, "egress": called})
    everybody = {"podSelector": {"matchExpressions": [{"key": PROCESS, "operator": "In", "values": [*processes]}]}}
    yield _policy(OPERATOR, naming.labels(OPERATOR), {"egress": [{"to": [everybody]}]})
    # the address of the API server is the cluster's affair
    yield _policy(PKI, naming.labels(PKI), {"egress": [{"ports": [_port(one) for one in _API_PORTS]}]})


_DNS: Final = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}


def _policy(name: str, labels: Mapping[str, str], rules: Mapping[str, Any]) -> dict[str, Any]:
    types = [kind for kind in ("Ingress", "Egress") if kind.lower() in rules]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": dict(labels)} if labels else {}, "policyTypes": types, **rules},
    }


def _named(process: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {PROCESS: process}}}


def _caller(what: str) -> dict[str, Any]:
    return {"namespaceSelector": {}, "podSelector": {"matchLabels": {CALLER: what}}}


def _port(port: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"protocol": protocol, "port": port}


def _ranges(ports: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield ascending ports, those in a row as one."""
    row: list[int] = []
    for port in (*ports, -1):
        if row and port != row[-1] + 1:
            yield {**_port(row[0]), **({"endPort": row[-1]} if len(row) > 1 else {})}
            row = []
        row.append(port)
