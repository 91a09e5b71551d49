"""qnetem.testbed.layout: where everything of a testbed lies below its state folder. Pure."""

from dataclasses import dataclass
from pathlib import Path

from qnetem.runtime.identity import Kind
from qnetem.testbed.launch_record import FOLDER
from qnetem.v1 import process_pb2

__all__ = ["FOLDER", "Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below `root`, the absolute state folder of one testbed (0700; every file 0600)."""

    root: Path

    @classmethod
    def beside(cls, topology_path: Path, testbed: str) -> "Layout":
        """Return the layout of a testbed whose topology lies in a file (an absolute path)."""
        return cls(topology_path.parent / FOLDER / testbed)

    @property
    def lock(self) -> Path:
        """Held, as flock, by who brings the testbed up and then by its supervisor."""
        return self.root / "lock"

    @property
    def plan(self) -> Path:
        """The plan in force."""
        return self.root / "plan.json"

    @property
    def project(self) -> Path:
        """The compose file, where processes are containers."""
        return self.root / "compose.json"

    @property
    def topology(self) -> Path:
        """The topology in force, as it was resolved."""
        return self.root / "topology.yaml"

    @property
    def launch(self) -> Path:
        """Who runs the testbed: written when it is launched, removed when it is down."""
        return self.root / "launch.json"

    @property
    def clock(self) -> Path:
        """How far emulated time has come."""
        return self.root / "clock.json"

    @property
    def ports(self) -> Path:
        """The ports that were chosen."""
        return self.root / "ports.json"

    @property
    def desired(self) -> Path:
        """Operator settings in force."""
        return self.root / "desired.json"

    @property
    def secret(self) -> Path:
        """The testbed secret, 16 bytes."""
        return self.root / "secret"

    @property
    def storage_keys(self) -> Path:
        """What keys at rest are sealed under, apart from the stores: a folder for each node."""
        return self.root / "storage-keys"

    def storage_key(self, node: str) -> Path:
        """Return the storage key of a node; in its folder a successor may lie, and nothing else."""
        return self.storage_keys / node / "key"

    @property
    def audit_heads(self) -> Path:
        """The last entry of each node's audit trail that somebody has verified."""
        return self.root / "audit-heads.json"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.root / "pki"

    @property
    def authority(self) -> Path:
        """Certificate of the testbed's authority."""
        return self.pki / "ca.pem"

    @property
    def authority_key(self) -> Path:
        """Key of the testbed's authority."""
        return self.pki / "ca-key.pem"

    @property
    def logs(self) -> Path:
        """What the processes write to standard output and error, one file each."""
        return self.root / "logs"

    @property
    def journals(self) -> Path:
        """What happened in the processes, one file each."""
        return self.root / "journals"

    @property
    def processes(self) -> Path:
        """Configuration and durable state of the processes, a folder each."""
        return self.root / "processes"

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder that belongs to the testbed as a whole, outer ones first."""
        return (self.root.parent, self.root, self.pki, self.storage_keys, self.logs, self.journals, self.processes)

    def log(self, process: str) -> Path:
        """Return the log of a process."""
        return self.logs / f"{process}.log"

    def journal(self, process: str) -> Path:
        """Return the journal of a process."""
        return self.journals / f"{process}.jsonl"

    def config(self, process: str) -> Path:
        """Return the configuration of a process."""
        return self.processes / process / "config.json"

    def state(self, process: str) -> Path:
        """Return the folder that only this process writes to."""
        return self.processes / process / "state"

    def mqtt_password(self, username: str) -> Path:
        """Return the file with the MQTT password of a party."""
        return self.pki / "mqtt" / username

    def mqtt_users(self, broker: str) -> Path:
        """Return the file by which a broker of the testbed knows its users. No user can be called so."""
        return self.pki / "mqtt" / f"users.{broker}"

    def party(self, kind: Kind, name: str) -> Path:
        """Return the folder with the certificate and key of a party."""
        return self.pki / kind / name

    def credentials(self, kind: Kind, name: str, prefix: str = "") -> process_pb2.CredentialPaths:
        """Return where the credentials of a party lie; `prefix` names a second pair of the same party."""
        folder = self.party(kind, name)
        return process_pb2.CredentialPaths(
            certificate_path=str(folder / f"{prefix}cert.pem"),
            key_path=str(folder / f"{prefix}key.pem"),
            authority_path=str(self.authority),
        )
