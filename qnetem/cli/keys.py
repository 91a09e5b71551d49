"""qnetem.cli.keys: `keys get status rotate-storage-key provision`. Wiring. Key material is printed on demand alone."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qnetem.cli.options import Format, FormatOption, TopologyOption
from qnetem.cli.output import print_json, print_table
from qnetem.cli.testbeds import run

if TYPE_CHECKING:
    from qnetem.testbed.etsi import Key

__all__ = ["keys"]

keys = typer.Typer(no_args_is_help=True, help="Fetch keys as an SAE would, and look after those who keep them.")


@keys.command()
def get(
    sae_id: Annotated[str, typer.Argument(metavar="SAE", help="Who fetches.")],
    slave: Annotated[str | None, typer.Argument(metavar="[SLAVE]", help="With whom new keys are shared.")] = None,
    number: Annotated[int, typer.Option(help="How many new keys.")] = 1,
    size: Annotated[int, typer.Option(help="Their size, bits.")] = 256,
    master: Annotated[str | None, typer.Option("--from", metavar="MASTER", help="Who has the keys already.")] = None,
    key_ids: Annotated[list[str] | None, typer.Option("--id", metavar="KEY_ID", help="Which; again for more.")] = None,
    show_key: Annotated[bool, typer.Option("--show-key", help="Print the keys themselves too, base64.")] = False,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Fetch new keys (`get app-1 app-2`), or those another has (`get app-2 --from app-1 --id ...`)."""
    from qnetem.cli.saes import sae_place
    from qnetem.runtime.errors import BadInputError

    if (slave is None) == (master is None):
        raise BadInputError("either SLAVE (new keys) or --from MASTER with --id KEY_ID is needed")
    if master is None and key_ids:
        raise BadInputError("--id goes with --from")
    if master is not None and not key_ids:
        raise BadInputError("--from needs --id KEY_ID")
    client = sae_place(topology, sae_id).client()
    if slave is not None:
        fetched = client.enc_keys(slave, number, size)
    else:
        fetched = client.dec_keys(master or "", key_ids or [])
    _print(fetched, show_key, form)


def _print(fetched: "list[Key]", is_shown: bool, form: Format) -> None:
    if form is Format.JSON:
        print_json([{"key_ID": key.key_id} | ({"key": key.material} if is_shown else {}) for key in fetched])
        return
    for key in fetched:
        print(f"{key.key_id}  {key.material}" if is_shown else key.key_id)


@keys.command()
def status(
    sae_id: Annotated[str | None, typer.Argument(metavar="[SAE]", help="Who asks.")] = None,
    slave: Annotated[str | None, typer.Argument(metavar="[SLAVE]", help="About keys with whom.")] = None,
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show all pools, their rates and when they run dry, or what a KME tells one SAE of keys with another."""
    from qnetem.runtime.errors import BadInputError

    if sae_id is None:
        from qnetem.cli.key_admins import POOL_HEADER, key_admin_of, pool_rows, pool_values

        async def told() -> list[dict[str, Any]]:
            async with key_admin_of(topology) as admin:
                return list(pool_values(await admin.statuses()))

        pools = run(told())
        if form is Format.JSON:
            print_json(pools)
        else:
            print_table(POOL_HEADER, pool_rows(pools), right=POOL_HEADER[2:])
        return
    if slave is None:
        raise BadInputError("keys status needs two SAEs, or none")
    from qnetem.cli.saes import sae_place

    answer = sae_place(topology, sae_id).client().status(slave)
    if form is Format.JSON:
        print_json(answer)
    else:
        print_table(("FIELD", "VALUE"), [(name, str(value)) for name, value in answer.items()])


@keys.command("rotate-storage-key")
def rotate_storage_key(topology: TopologyOption = None) -> None:
    """Seal all keys at rest anew, under a new storage key in the old one's file. Interrupted, it is done again."""
    from qnetem.cli.key_admins import key_admin_of

    async def rotated() -> list[str]:
        async with key_admin_of(topology) as admin:
            return await admin.rotate_storage_keys()

    for path in run(rotated()):
        print(path)


@keys.command()
def provision(
    link_id: Annotated[str, typer.Argument(metavar="LINK", help="Id of the link, as `inspect` names it.")],
    topology: TopologyOption = None,
) -> None:
    """Bring both ends of a link new pre-shared bits to authenticate with, as a courier would (auth-starved)."""
    from qnetem.cli.key_admins import key_admin_of

    async def provisioned() -> int:
        async with key_admin_of(topology) as admin:
            return await admin.provision(link_id)

    print(f"link {link_id}: {run(provisioned())} bits")
