"""qnetem.cli.saes: the SAEs of a testbed, and `sae export`. Wiring."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qnetem.cli.options import TopologyOption
from qnetem.cli.testbeds import plan_of, state_of

if TYPE_CHECKING:
    from qnetem.testbed.etsi import SaeClient
    from qnetem.v1 import process_pb2

__all__ = ["SaePlace", "sae", "sae_place"]

sae = typer.Typer(no_args_is_help=True, help="Clients of keys.")


@dataclass(frozen=True, slots=True)
class SaePlace:
    """Where an SAE fetches its keys, and who it is."""

    sae_id: str
    kme_id: str
    kme_url: str
    credentials: "process_pb2.CredentialPaths"

    def client(self) -> "SaeClient":
        """Return a client that is this SAE."""
        from qnetem.testbed.etsi import SaeClient

        return SaeClient(self.sae_id, self.kme_url, self.credentials)


def sae_place(topology: Path | None, sae_id: str) -> SaePlace:
    """Return the place of an SAE of the testbed that is meant.

    Raises:
        TopologyError, NotFoundError: There is no such testbed or SAE; suggests the nearest.
    """
    from qnetem import topology as topologies
    from qnetem.runtime.errors import NotFoundError
    from qnetem.topology.words import did_you_mean, shown

    state = state_of(topology)
    plan = plan_of(state)
    in_force = topologies.load(state.layout.topology)
    if sae_id not in in_force.saes:
        raise NotFoundError(f"testbed {plan.testbed}: no SAE {shown(sae_id)}" + did_you_mean(sae_id, in_force.saes))
    node = in_force.saes[sae_id]
    address = plan.processes[node].listeners["https"]
    return SaePlace(sae_id, node, f"https://{address}", state.layout.credentials("sae", sae_id))


@sae.callback()
def _group() -> None:
    """Keep `export` a verb of its own: typer would take the only one for the group."""


@sae.command()
def export(
    sae_id: Annotated[str, typer.Argument(metavar="SAE", help="Id of the SAE.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to write to; default: the name of the SAE."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    topology: TopologyOption = None,
) -> None:
    """Write what any HTTP client needs to be an SAE: cert.pem, key.pem, ca.pem and sae.json."""
    import json

    from qnetem.runtime.errors import AlreadyExistsError, StorageError
    from qnetem.runtime.pki import write_private

    place = sae_place(topology, sae_id)
    output = output or Path(place.sae_id)
    about = {"kme_url": place.kme_url, "sae_id": place.sae_id, "kme_id": place.kme_id}
    try:
        files = {
            "cert.pem": Path(place.credentials.certificate_path).read_bytes(),
            "key.pem": Path(place.credentials.key_path).read_bytes(),
            "ca.pem": Path(place.credentials.authority_path).read_bytes(),
            "sae.json": (json.dumps(about, indent=2) + "\n").encode(),
        }
        there = [name for name in files if (output / name).exists()]
        if there and not force:
            raise AlreadyExistsError(f"{output / there[0]}: is there already (--force replaces it)")
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        output.chmod(0o700)
        for name, data in files.items():
            write_private(output / name, data)
    except OSError as error:
        raise StorageError(f"{error.filename or output}: {error.strerror}") from error
    print(f"wrote {', '.join(files)} to {output}: {sae_id} fetches its keys at {place.kme_url}")
