"""qnetem.cli.app: all verbs. Wiring."""

import typer

from qnetem.cli import (
    acting,
    auditing,
    checking,
    collecting,
    containing,
    diagnosis,
    eavesdropping,
    executing,
    files,
    graphing,
    importing,
    inspecting,
    keys,
    lifecycle,
    links,
    paths,
    planning,
    saes,
    watching,
    wiring,
)

__all__ = ["app"]

app = typer.Typer(
    name="qnetem",
    help="Emulate a quantum network with real processes. Exit codes: 0 fine, 1 deviated, 2 inconclusive, "
    "3 bad input, 4 could not deploy.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

for verb in (
    files.init,
    files.validate,
    files.render,
    files.schema,
    planning.plan,
    lifecycle.up,
    lifecycle.down,
    inspecting.inspect,
    graphing.graph,
    containing.compose,
    containing.kubernetes,
):
    app.command()(verb)
app.command(name="import")(importing.import_network)
for action in acting.ACTIONS:
    app.command(name=action)(acting.verb(action))
app.command(name="exec", context_settings=executing.CONTEXT)(executing.execute)
app.command()(wiring.disconnect)
app.command()(wiring.connect)
for verb in (watching.logs, watching.events):
    app.command()(verb)
app.add_typer(links.link, name="link")
app.add_typer(eavesdropping.eve, name="eve")
app.add_typer(keys.keys, name="keys")
app.add_typer(paths.paths, name="paths")
app.add_typer(checking.check, name="check")
app.add_typer(saes.sae, name="sae")
app.add_typer(auditing.audit, name="audit")
app.command()(diagnosis.doctor)
app.command()(collecting.collect)


@app.command()
def version() -> None:
    """Print the version."""
    from qnetem import __version__

    print(f"qnetem {__version__}")
