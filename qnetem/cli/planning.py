"""qnetem.cli.planning: `plan`. Wiring."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qnetem.cli.options import Format, FormatOption, TopologyOption, duration_s
from qnetem.cli.output import print_json, print_table
from qnetem.cli.testbeds import topology_path

if TYPE_CHECKING:
    from node.planning.link_plan import LinkPlan, Outlook

__all__ = ["plan"]


def plan(
    link_id: Annotated[str, typer.Argument(metavar="LINK", help="Id of the link, as `validate -f json` names it.")],
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="Plan for another protocol than the link's own.")
    ] = None,
    block_time: Annotated[
        str, typer.Option("--block-time", metavar="TIME", help="Blocks of key fill within so much emulated time.")
    ] = "60s",
    topology: TopologyOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Find the best settings of a link's source, bases and blocks, and what they make; nothing has to run."""
    from node.planning.link_plan import link_plan
    from qnetem import topology as topologies
    from qnetem.runtime.errors import BadInputError, NotFoundError

    links = topologies.load(topology or topology_path(None)).links
    if link_id not in links:
        raise NotFoundError(f"no link {link_id!r} in the topology (there are: {', '.join(links) or 'none'})")
    link = links[link_id]
    if link.external is not None:
        raise BadInputError(f"link {link_id} has no quantum channel: KMEs of another make give its keys")
    found = link_plan(link.planned, link.protocol, protocol=protocol, block_s=duration_s(block_time))
    if form is Format.JSON:
        print_json({"link_id": link_id, **_values(found)})
        return
    _print_plan(link_id, found)


def _settings(found: "LinkPlan", outlook: "Outlook") -> dict[str, dict[str, Any]]:
    """Return settings by their keys in a topology."""
    from qnetem.topology import fields

    chosen = outlook.full.parameters
    of_source = ("pair_brightness",) if found.protocol.has_pairs else ("intensities", "intensity_probs")
    quantum = {name: getattr(chosen, name) for name in (*of_source, "transmitter_p_z", "receiver_p_z")}
    values = {
        "quantum": (fields.QUANTUM, quantum),
        "protocol": (fields.PROTOCOL, {"protocol": found.protocol.name, "block_ramp_bits": list(outlook.ramp_bits)}),
    }
    return {
        part: {each.key: each.render(wanted[each.wire]) for each in table if each.wire in wanted}
        for part, (table, wanted) in values.items()
    }


def _outlook_values(found: "LinkPlan", outlook: "Outlook") -> dict[str, Any]:
    full = outlook.full
    return {
        "settings": _settings(found, outlook),
        "clicks_hz": full.clicks_hz,
        "sifted_hz": full.sifted_hz,
        "qber_prob": full.qber_prob,
        "phase_error_prob": full.phase_error_prob,
        "block_bits": round(full.block_bits),
        "block_s": full.block_s,
        "secret_fraction": full.secret_fraction,
        "secret_hz": full.secret_hz,
        "secret_net_hz": full.secret_net_hz,
        "first_key_s": outlook.first_key_s,
        "reason": full.reason,
    }


def _values(found: "LinkPlan") -> dict[str, Any]:
    limits = found.limits
    return {
        "protocol": found.protocol.name,
        "is_secure": found.protocol.is_secure,
        "now": None if found.now is None else _outlook_values(found, found.now),
        "best": _outlook_values(found, found.best),
        "limits": {
            "decoy_hz": limits.decoy_hz,
            "mdi_hz": limits.mdi_hz,
            "twin_field_hz": limits.twin_field_hz,
            # without loss there is no bound, and JSON knows no infinity
            "repeaterless_hz": limits.repeaterless_hz if limits.repeaterless_hz < float("inf") else None,
        },
    }


def _print_plan(link_id: str, found: "LinkPlan") -> None:
    from qnetem.cli.figures import count_text, percent_text, rate_text
    from qnetem.topology.rendering import to_yaml

    outlooks = [one for one in (found.now, found.best) if one is not None]
    cells = []
    for one in outlooks:
        full, chosen = one.full, one.full.parameters
        if found.protocol.has_pairs:
            sent = {"pair brightness": f"{chosen.pair_brightness:g}"}
        else:
            sent = {
                "intensities": " ".join(f"{mean:g}" for mean in chosen.intensities),
                "probabilities": " ".join(f"{prob:g}" for prob in chosen.intensity_probs),
            }
        cells.append(
            {
                **sent,
                "Z at both ends": f"{chosen.transmitter_p_z:g} {chosen.receiver_p_z:g}",
                "blocks": " ".join(count_text(bits, "bit").replace(" ", "") for bits in one.ramp_bits),
                "clicks": rate_text(full.clicks_hz, "/s"),
                "sifted": rate_text(full.sifted_hz, "b/s"),
                "QBER": percent_text(full.qber_prob),
                "secret (gross)": rate_text(full.secret_hz, "b/s") if not full.reason else f"none: {full.reason}",
                "secret (net)": rate_text(full.secret_net_hz, "b/s") if not full.reason else "none",
                "last block": _time_text(full.block_s),
                "first key": "never" if one.first_key_s is None else _time_text(one.first_key_s),
            }
        )
    names = ("PLANNED", "BEST")[-len(outlooks) :]
    rows = [(name, *(column[name] for column in cells)) for name in cells[-1]]
    mark = "" if found.protocol.is_secure else " (for study: its keys are not secure)"
    print_table(("", *names), rows, title=f"link {link_id}: {found.protocol.name}{mark}")
    limits = found.limits
    bounds = [
        ("BB84, infinitely many decoys and pulses", limits.decoy_hz),
        ("measurement-device-independent", limits.mdi_hz),
        ("twin field (phase matching)", limits.twin_field_hz),
        ("any without a station (PLOB)", limits.repeaterless_hz),
    ]
    print()
    print_table(("AT THIS LOSS, AT MOST", "SECRET"), [(name, _bound_text(value)) for name, value in bounds])
    print("\nbest, to paste into the link:")
    print(to_yaml(_settings(found, found.best)), end="")


def _time_text(span_s: float) -> str:
    from qnetem.cli.figures import span_text

    return f"{1e3 * span_s:.3g} ms" if span_s < 1 else span_text(span_s)


def _bound_text(value_hz: float) -> str:
    from qnetem.cli.figures import rate_text

    return rate_text(value_hz, "b/s") if value_hz < float("inf") else "no bound"
