"""bench.keys: keys a second over ETSI GS QKD 014, over relays, and the wait for one when a relay dies. Edge.

`python -m bench.keys [--write] [--only delivery,relay,death] [--seconds 10]`
"""

import asyncio
import base64
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Final

from bench.key_lab import Kmes, cpu_s, install_paths, line_of, network, testbed
from bench.report import publish, table
from qnetem.runtime.errors import DeadlineError, UnavailableError
from qnetem.v1 import supervisor_pb2

COMMAND = "python -m bench.keys"
KEY_BITS = 256
_DEATHS: Final = {"killed": ("KILL", ""), "frozen": ("PAUSE", "RESUME")}


@dataclass
class Timings:
    """How long calls took, seconds, and what was wrong."""

    enc_s: list[float] = field(default_factory=list)
    dec_s: list[float] = field(default_factory=list)
    keys_count: int = 0
    refused: list[str] = field(default_factory=list)


async def deliver(
    kmes: Kmes,
    master: str,
    slave: str,
    until_s: float,
    number: int,
    timings: Timings,
    *,
    is_one: bool = False,
) -> None:
    """Have keys made, fetch them at the other end, compare; again and again, or until it has come about once."""
    here, there = await kmes.connect(master), await kmes.connect(slave)
    while time.monotonic() < until_s and not (is_one and timings.keys_count):
        start_s = time.monotonic()
        status, made = await here.post(f"{slave}/enc_keys", {"number": number, "size": KEY_BITS})
        middle_s = time.monotonic()
        if status != 200:
            timings.refused.append(f"{status} {made['message']}")
            await asyncio.sleep(0.01)
            continue
        asked = [{"key_ID": key["key_ID"]} for key in made["keys"]]
        status, taken = await there.post(f"{master}/dec_keys", {"key_IDs": asked})
        if status != 200 or taken["keys"] != made["keys"] or len(base64.b64decode(made["keys"][0]["key"])) != 32:
            raise SystemExit(f"keys of {master} and {slave} differ: {status}")
        timings.enc_s.append(middle_s - start_s)
        timings.dec_s.append(time.monotonic() - middle_s)
        timings.keys_count += number
    here.close()
    there.close()


def quantiles(times_s: list[float]) -> list[str]:
    """Return the median and the 99th percentile, milliseconds."""
    cuts = statistics.quantiles(times_s, n=100)
    return [f"{1000 * cuts[49]:.1f}", f"{1000 * cuts[98]:.1f}"]


async def delivery(seconds: float) -> str:
    """Measure enc_keys and dec_keys at two neighbours."""
    rows = []
    async with testbed(line_of(2)) as kmes:
        for number, clients in ((1, 1), (1, 8), (1, 16), (1, 32), (16, 8)):
            timings = Timings()
            pids = [one.pid for one in (await kmes.client.get()).processes]
            before_s, own_s = cpu_s(pids), time.process_time()
            start_s = time.monotonic()
            pairs = [("sae-n0", "sae-n1"), ("sae-n1", "sae-n0")]
            tasks = [deliver(kmes, *pairs[at % 2], start_s + seconds, number, timings) for at in range(clients)]
            await asyncio.gather(*tasks)
            passed_s = time.monotonic() - start_s
            rate = timings.keys_count / passed_s
            cost_ms = 1000 * (cpu_s(pids) - before_s) / timings.keys_count
            client_ms = 1000 * (time.process_time() - own_s) / timings.keys_count
            refused = f"{len(timings.refused)}"
            rows.append(
                [
                    str(number),
                    str(clients),
                    f"{rate:.0f}",
                    *quantiles(timings.enc_s),
                    *quantiles(timings.dec_s),
                    f"{cost_ms:.2f}",
                    f"{client_ms:.2f}",
                    refused,
                ]
            )
    header = ["keys a request", "clients", "pairs a second"]
    header += [
        "enc p50, ms",
        "enc p99, ms",
        "dec p50, ms",
        "dec p99, ms",
        "CPU a pair, ms",
        "CPU of the client, ms",
        "refused",
    ]
    return table(header, rows)


async def relayed(seconds: float) -> str:
    """Measure keys between the ends of lines of one, three and six hops."""
    rows = []
    for hops in (1, 3, 6):
        async with testbed(line_of(hops + 1)) as kmes:
            if hops > 1:
                await install_paths(kmes, "n0", [[f"n{index}" for index in range(hops + 1)]])
            for number, clients in ((1, 8), (16, 4)):
                timings = Timings()
                start_s = time.monotonic()
                tasks = [
                    deliver(kmes, "sae-n0", f"sae-n{hops}", start_s + seconds, number, timings) for _ in range(clients)
                ]
                await asyncio.gather(*tasks)
                rate = timings.keys_count / (time.monotonic() - start_s)
                refused = str(len(timings.refused))
                rows.append([str(hops), str(number), str(clients), f"{rate:.0f}", *quantiles(timings.enc_s), refused])
    header = ["hops", "keys a request", "clients", "keys a second", "enc p50, ms", "enc p99, ms", "refused"]
    return table(header, rows)


async def deaths(repeat_count: int = 5) -> str:
    """Measure from the death, and from the freeze, of the relay in use to the next key that both SAEs have."""
    rows = []
    async with testbed(network([("a", "r1"), ("r1", "b"), ("a", "r2"), ("r2", "b")])) as kmes:
        await install_paths(kmes, "a", [["a", "r1", "b"], ["a", "r2", "b"]])
        for what, (action, undo) in _DEATHS.items():
            waits_s = []
            for _ in range(repeat_count):
                await _next_key(kmes)
                start_s = time.monotonic()
                await _act(kmes, action, "r1")
                await _next_key(kmes)
                waits_s.append(time.monotonic() - start_s)
                if undo:
                    await _act(kmes, undo, "r1")
                await _in_use_again(kmes)
            cells = [f"{value:.2f}" for value in (min(waits_s), statistics.median(waits_s), max(waits_s))]
            rows.append([what, str(repeat_count), *cells])
    return table(["relay is", "times", "least, s", "median, s", "most, s"], rows)


async def _act(kmes: Kmes, action: str, name: str) -> None:
    await kmes.client.act(supervisor_pb2.ProcessAction.Value(f"PROCESS_ACTION_{action}"), [name])


async def _next_key(kmes: Kmes) -> None:
    """Have one key made and fetched; ask until there is one."""
    await deliver(kmes, "sae-a", "sae-b", float("inf"), 1, Timings(), is_one=True)


async def _in_use_again(kmes: Kmes) -> None:
    """Wait until the first relay serves, and keys go over it again."""
    while True:
        before = await _relayed_bits(kmes)
        await _next_key(kmes)
        await asyncio.sleep(1.0)  # a relay notes what went through every half a second
        if before is not None and (await _relayed_bits(kmes) or 0) > before:
            return


async def _relayed_bits(kmes: Kmes) -> int | None:
    try:
        async with kmes.admin("r1") as admin:
            return sum(pool.relayed_bits for pool in (await admin.status()).pools)
    except (UnavailableError, DeadlineError):
        return None


def main() -> None:
    """Measure, print, and keep with --write."""
    arguments = dict(zip(sys.argv, [*sys.argv[1:], ""], strict=True))
    only = arguments.get("--only", "delivery,relay,death").split(",")
    seconds = float(arguments.get("--seconds", "10"))
    if "delivery" in only:
        publish("keys", COMMAND, asyncio.run(delivery(seconds)))
    if "relay" in only:
        publish("relayed keys", COMMAND, asyncio.run(relayed(seconds)))
    if "death" in only:
        publish("death of a relay", COMMAND, asyncio.run(deaths()))


if __name__ == "__main__":
    main()
