"""A testbed as manifests: the schemas hold, nobody reaches whom it should not, and each pod gets its own Secret."""

import base64
import io
import json
import re
import ssl
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from qnetem import __version__, topology
from qnetem.cli.__main__ import main
from qnetem.runtime.errors import BadInputError, NotFoundError, StorageError
from qnetem.testbed.containers.kubernetes import kubernetes_files
from qnetem.testbed.containers.pods import ARCHIVE, AUTHORITY
from qnetem.testbed.containers.publishing import publish
from qnetem.testbed.containers.secret_store import SecretStore
from qnetem.testbed.plan import planned

ROOT = Path(__file__).parents[3]
METRO = ROOT / "topologies/metro.yaml"
SHIPPED = sorted((ROOT / "topologies").glob("*.yaml"))
CONTROLLED = {**topology.ring(4), "control_plane": {"kind": "reference"}}
VERSIONS = ("1.27", "1.37")
MARK = "0123456789"


def rendered(loaded: topology.Topology, text: str = "") -> list[dict[str, Any]]:
    files = kubernetes_files(loaded, "t.yaml", text)
    assert list(files) == sorted(files), "kubectl applies them in the order of their names"
    return [document for text in files.values() for document in yaml.safe_load_all(text)]


def named(documents: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in documents if one["kind"] == kind}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_hold(version: str) -> None:
    documents = rendered(topology.from_dict(CONTROLLED))
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)
    assert {one["kind"] for one in documents} == {
        *("Namespace", "NetworkPolicy", "ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Job"),
        *("Service", "StatefulSet", "PodDisruptionBudget"),
    }
    # planted: a word that is none is found
    wrong = named(documents, "StatefulSet")["n0"]
    wrong["spec"]["template"]["spec"]["containers"][0]["readinessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinessprobe"):
        kubernetes_validate.validate(wrong, version, strict=True)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_rendering_is_stable_and_holds_no_secret(path: Path) -> None:
    loaded = topology.load(path)
    made = kubernetes_files(loaded, path.name, path.read_text())
    assert made == kubernetes_files(topology.load(path), path.name, path.read_text())
    for text in made.values():
        assert text.startswith(f"# Made by qnetem {__version__} from {path.name} (digest {loaded.digest})")
        assert not re.search(r"PRIVATE|password", text)
    documents = [document for text in made.values() for document in yaml.safe_load_all(text)]
    assert set(named(documents, "Service")) == set(planned(loaded)[0])
    assert set(named(documents, "StatefulSet")) == {*planned(loaded)[0], "operator"}
    [config] = named(documents, "ConfigMap").values()
    # what the pki reads is the topology itself
    assert topology.parse(config["data"]["topology.yaml"], "topology.yaml").digest == loaded.digest


def test_a_pod_is_let_do_nothing_that_it_does_not_need() -> None:
    documents = rendered(topology.from_dict(CONTROLLED))
    pods = {name: one["spec"]["template"]["spec"] for name, one in named(documents, "StatefulSet").items()}
    [job] = named(documents, "Job").values()
    for name, pod in {**pods, "pki": job["spec"]["template"]["spec"]}.items():
        assert pod["automountServiceAccountToken"] is (name == "pki")
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(container["resources"]) == {"requests", "limits"}
            if name not in ("pki", "operator") and container["name"] == "process":
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    [wanted] = [volume["secret"] for volume in pods["n0"]["volumes"] if "secret" in volume]
    assert re.fullmatch(r"n0-[0-9a-f]{10}", wanted["secretName"])
    # the pki may read one Secret, and change no other
    [role] = named(documents, "Role").values()
    assert [rule for rule in role["rules"] if rule["verbs"] != ["create"]] == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "update"], "resourceNames": [AUTHORITY]}
    ]


class Reach:
    """Who reaches whom, by the rules of NetworkPolicies: what both ends let pass."""

    def __init__(self, documents: list[dict[str, Any]]) -> None:
        self._policies = list(named(documents, "NetworkPolicy").values())
        sets = named(documents, "StatefulSet").values()
        self.pods = {one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in sets}

    @staticmethod
    def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
            labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", ())
        )

    def _passes(self, kind: str, own: dict[str, str], other: dict[str, str], port: int) -> bool:
        found = [
            one
            for one in self._policies
            if kind in one["spec"]["policyTypes"] and self._selects(one["spec"]["podSelector"], own)
        ]
        if not found:
            return True
        peers = "from" if kind == "Ingress" else "to"
        return any(
            # a rule without peers is for everybody, one without ports for every port
            (peers not in rule or any(self._selects(peer["podSelector"], other) for peer in rule[peers]))
            and (
                "ports" not in rule
                or any(one["port"] <= port <= one.get("endPort", one["port"]) for one in rule["ports"])
            )
            for policy in found
            for rule in policy["spec"][kind.lower()]
        )

    def is_open(self, caller: str | dict[str, str], called: str, port: int) -> bool:
        callers = self.pods[caller] if isinstance(caller, str) else caller
        out = isinstance(caller, dict) or self._passes("Egress", callers, self.pods[called], port)
        return out and self._passes("Ingress", self.pods[called], callers, port)


def test_a_node_reaches_its_peers_through_the_channels_alone() -> None:
    loaded = topology.from_dict(CONTROLLED)
    reach = Reach(rendered(loaded))
    ports = (7001, 7002, 8443, 8883, 9100, 20000, 20007)
    for node in loaded.nodes:
        for other in loaded.nodes.keys() - {node}:
            assert not any(reach.is_open(node, other, port) for port in ports), (node, other)
        mine = {f"qc-{link.id}" for link in loaded.links_of(node)}
        for channel in (name for name in reach.pods if name.startswith("qc-")):
            assert reach.is_open(node, channel, 7001) is (channel in mine)
        assert reach.is_open(node, "cc", 20007)
        assert reach.is_open("cc", node, 7001)
        assert reach.is_open(node, "broker", 8883)
        assert reach.is_open(node, "controller", 7002)
        assert reach.is_open("controller", node, 7002)
        assert not reach.is_open(node, "cc", 22)
        assert not reach.is_open(node, "operator", 7002)
        assert reach.is_open("operator", node, 7002)
        # from outside: an SAE to keys, Prometheus to figures, others to nothing
        assert [port for port in ports if reach.is_open({"qnetem/caller": "sae"}, node, port)] == [8443]
        assert [port for port in ports if reach.is_open({"qnetem/caller": "prometheus"}, node, port)] == [9100]
        assert not any(reach.is_open({"app": "else"}, node, port) for port in ports)


def test_without_the_rule_that_forbids_everybody_reaches_everybody() -> None:
    # planted: what the test above would see
    documents = rendered(topology.from_dict(CONTROLLED))
    open_ones = [one for one in documents if one["kind"] != "NetworkPolicy"]
    assert Reach(open_ones).is_open("n0", "n1", 7001)
    alone = [one for one in documents if one["kind"] != "NetworkPolicy" or one["metadata"]["name"] in ("nobody", "n1")]
    assert not Reach(alone).is_open("n0", "n1", 7001)


def test_another_topology_version_or_image_is_another_job_with_other_secrets() -> None:
    loaded = topology.load(METRO)

    def names(image: str | None) -> set[str]:
        text = kubernetes_files(loaded, "metro.yaml", METRO.read_text(), image)["20-pki.yaml"]
        return {one["metadata"]["name"] for one in yaml.safe_load_all(text) if one["kind"] in ("Job", "ConfigMap")}

    assert names(None) == names(f"qnetem:{__version__}")
    assert not names(None) & names("registry.example/qnetem:1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0n", "a process is called .*0n: on Kubernetes names begin with a letter and have at most 52 characters"),
        ("n" * 53, "have at most 52 characters"),
        ("unix", "a process is called unix, which as an address means another thing"),
    ],
)
def test_a_name_that_cannot_be_one_of_a_service_is_refused(name: str, message: str) -> None:
    content = json.loads(json.dumps(topology.ring(3)).replace('"n0"', f'"{name}"'))
    with pytest.raises(BadInputError, match=message):
        kubernetes_files(topology.from_dict(content), "t.yaml", "")
    content = {**topology.ring(2), "name": "t" * 57}
    with pytest.raises(BadInputError, match="more than the 56 characters of a namespace"):
        kubernetes_files(topology.from_dict(content), "t.yaml", "")


class Api:
    """Answers for Secrets as an API server does; `refused` names none that it will write."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.written: list[str] = []
        self.refused = ""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self, code: int, content: dict[str, Any]) -> None:
                body = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _name(self) -> str:
                assert self.headers["Authorization"] == "Bearer token"
                found = re.fullmatch(r"/api/v1/namespaces/qnetem-t/secrets/?(.*)", self.path)
                assert found
                return found[1]

            def do_GET(self) -> None:
                there = api.secrets.get(self._name())
                self._answer(200 if there else 404, there or {"kind": "Status"})

            def _write(self, is_new: bool) -> None:
                self._name()
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name, there = content["metadata"]["name"], api.secrets.get(content["metadata"]["name"])
                if name == api.refused:
                    return self._answer(403, {"message": content["data"]})
                version = there["metadata"]["resourceVersion"] if there else ""
                if is_new is bool(there) or content["metadata"].get("resourceVersion", "") != version:
                    return self._answer(409, {"kind": "Status"})
                content["metadata"]["resourceVersion"] = f"{version}+"
                api.secrets[name] = content
                api.written.append(name)
                return self._answer(200, content)

            def do_POST(self) -> None:
                self._write(is_new=True)

            def do_PUT(self) -> None:
                self._write(is_new=False)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def files(self, name: str) -> dict[str, bytes]:
        data = base64.b64decode(self.secrets[name]["data"][ARCHIVE])
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            inside = {one.name: archive.extractfile(one) for one in archive if one.isfile()}
            return {path: file.read() for path, file in inside.items() if file is not None}


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def published(api: Api, folder: Path, content: dict[str, Any], mark: str = MARK) -> int:
    """Do what the Job's pod does: each time in empty folders."""
    for name in ("home", "volumes"):
        (folder / name).mkdir(parents=True)
    token = folder / "token"
    token.write_text("token\n")
    url = f"http://127.0.0.1:{api.server.server_port}"
    store = SecretStore(url, "qnetem-t", token, ssl.create_default_context(), ARCHIVE)
    return publish(topology.from_dict(content), store, folder / "home", folder / "volumes", mark)


def test_each_pod_gets_its_own_and_another_job_makes_the_same(api: Api, tmp_path: Path) -> None:
    processes = planned(topology.from_dict(CONTROLLED))[0]
    assert published(api, tmp_path / "1", CONTROLLED) == len(processes) + 1
    # nobody has a certificate of an authority that may be lost
    assert api.written[0] == AUTHORITY
    assert set(api.secrets) == {AUTHORITY, *(f"{name}-{MARK}" for name in (*processes, "operator"))}
    assert [name for name, one in api.secrets.items() if not one["immutable"]] == [AUTHORITY]
    own = api.files(f"n0-{MARK}")
    name = CONTROLLED["name"]
    assert f".qnetem/{name}/processes/n0/config.json" in own
    assert not [path for path in own if "n1" in path or path.endswith("ca-key.pem")]
    assert b"qc-n0-n1:7001" in own[f".qnetem/{name}/processes/n0/config.json"]
    assert max(len(base64.b64decode(one["data"][ARCHIVE])) for one in api.secrets.values()) < 1 << 20

    # a Job that starts again finds what there is; one of another mark makes new Secrets of the same secrets
    assert published(api, tmp_path / "2", CONTROLLED) == 0
    assert published(api, tmp_path / "3", CONTROLLED, "another") == len(processes) + 1
    again = api.files("n0-another")
    assert {path: data for path, data in again.items() if "pki" in path} == {
        path: data for path, data in own.items() if "pki" in path
    }
    assert again == own


def test_a_job_that_dies_goes_on_where_it_was(api: Api, tmp_path: Path) -> None:
    api.refused = f"n1-{MARK}"
    with pytest.raises(StorageError, match=rf"^Secret n1-{MARK}: POST answers 403 Forbidden$"):
        published(api, tmp_path / "1", CONTROLLED)
    first = api.files(f"n0-{MARK}")
    api.refused = ""
    assert 0 < published(api, tmp_path / "2", CONTROLLED) < len(planned(topology.from_dict(CONTROLLED))[0])
    authority = f".qnetem/{CONTROLLED['name']}/pki/ca.pem"
    assert api.files(f"n1-{MARK}")[authority] == first[authority] == api.files(f"n0-{MARK}")[authority]


def test_two_jobs_at_once_make_one_authority(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(api, tmp_path / "1", CONTROLLED)
    # the second has looked before the first wrote
    looked = SecretStore.read
    monkeypatch.setattr(SecretStore, "read", lambda self, name: (_ for _ in ()).throw(NotFoundError(name)))
    with pytest.raises(StorageError, match="Secret authority: somebody else has made it meanwhile"):
        published(api, tmp_path / "2", CONTROLLED)

    def late(self: SecretStore, name: str) -> Any:
        stored = looked(self, name)
        api.secrets[name]["metadata"]["resourceVersion"] += "later"
        return stored

    monkeypatch.setattr(SecretStore, "read", late)
    with pytest.raises(StorageError, match="Secret authority: somebody else has written it meanwhile"):
        published(api, tmp_path / "3", CONTROLLED)


def test_outside_a_pod_there_is_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(StorageError, match="not in a pod with a service account"):
        SecretStore.of_this_pod(ARCHIVE)


def test_the_command_writes_manifests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kubernetes", str(METRO), "-o", str(tmp_path / "k8s")]) == 0
    made = kubernetes_files(topology.load(METRO), METRO.name, METRO.read_text())
    assert {path.name: path.read_text() for path in (tmp_path / "k8s").iterdir()} == made
    assert f"kubectl apply -f {tmp_path / 'k8s'}" in capsys.readouterr().out
    (tmp_path / "file").touch()
    assert main(["kubernetes", str(METRO), "-o", str(tmp_path / "file")]) == 4
