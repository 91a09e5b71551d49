"""bench.classical_channel: what the classical channel costs: bandwidth, added round trip, memory, idle CPU.

Prints one line of JSON per figure. `python bench/classical_channel.py`.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from google.protobuf import json_format

from qnetem.runtime import identity, pki
from qnetem.v1 import process_pb2

_TRANSFER_BYTES = 1 << 30
_BLOCK_BYTES = 1 << 20
_ROUND_TRIPS = 5000
_IDLE_S = 5.0
_IDLE_CONNECTIONS = 200


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serve(listener: socket.socket) -> None:
    """Echo a connection that starts with "e"; count one that starts with "s"."""
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_behave, args=(connection,), daemon=True).start()


def _behave(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        if connection.recv(1) == b"e":
            while data := connection.recv(65536):
                connection.sendall(data)
        else:
            buffer = bytearray(_BLOCK_BYTES)
            while connection.recv_into(buffer):
                pass
            connection.sendall(b"!")


def _bandwidth(port: int) -> float:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"s")
        block = bytes(_BLOCK_BYTES)
        start_s = time.perf_counter()
        for _ in range(_TRANSFER_BYTES // _BLOCK_BYTES):
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(1) != b"!":
            raise RuntimeError("the transfer was cut short")
        return _TRANSFER_BYTES / 1e6 / (time.perf_counter() - start_s)


def _round_trips_us(port: int) -> list[float]:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"e")
        taken = []
        for _ in range(_ROUND_TRIPS):
            start_s = time.perf_counter()
            connection.sendall(b"x" * 100)
            connection.recv(100)
            taken.append((time.perf_counter() - start_s) * 1e6)
        return sorted(taken)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _configuration(folder: Path, target_port: int, delays_ps: list[int]) -> process_pb2.ProcessConfig:
    authority = pki.create_authority("bench")
    ca = folder / "ca.pem"
    pki.write_private(ca, authority.pem.certificate)
    issued = authority.issue(
        identity.uri("bench", "classical-channel", "cc"), [identity.dns_name("bench", "classical-channel", "cc")]
    )
    config = process_pb2.ProcessConfig(testbed="bench", name="cc", state_dir=str(folder / "state"))
    config.credentials.CopyFrom(pki.write_credentials(folder, issued, ca))
    config.clock.scale = 1.0
    config.clock.source = process_pb2.ClockConfig.SOURCE_MONOTONIC
    config.listeners.management = f"127.0.0.1:{_free_port()}"
    for number, delay_ps in enumerate(delays_ps):
        path = config.classical_channel.paths.add(link_id=f"link-{number}", from_node="a", to_node="b")
        path.listen = f"127.0.0.1:{_free_port()}"
        path.forward_to = f"127.0.0.1:{target_port}"
        path.planned.delay_ps = delay_ps
    return config


def _report(**figures: float | int | str) -> None:
    print(json.dumps({name: round(v, 1) if isinstance(v, float) else v for name, v in figures.items()}), flush=True)


def main() -> None:
    """Run every measurement."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    direct = listener.getsockname()[1]
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    delays_ps = [0, 20 * 10**9]
    with tempfile.TemporaryDirectory(prefix="qn-") as name:
        folder = Path(name)
        config = _configuration(folder, direct, delays_ps)
        (folder / "config.json").write_text(json_format.MessageToJson(config))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(folder / "n"))
            notify.settimeout(30)
            command = [sys.executable, "-m", "classical_channel", "--config", str(folder / "config.json")]
            process = subprocess.Popen(
                command, stderr=subprocess.DEVNULL, env={**os.environ, "NOTIFY_SOCKET": str(folder / "n")}
            )
            try:
                notify.recv(200)
                ports = [int(path.listen.rpartition(":")[2]) for path in config.classical_channel.paths]
                _measure(process.pid, direct, ports[0], ports[1])
            finally:
                process.terminate()
                process.wait()


def _measure(pid: int, direct: int, immediate: int, slept: int) -> None:
    for what, port in (("direct", direct), ("delay 0", immediate), ("delay 20 ms", slept)):
        before_s = _cpu_s(pid)
        _report(figure="bandwidth", through=what, mb_per_s=_bandwidth(port), channel_cpu_s=_cpu_s(pid) - before_s)
    for what, port in (("direct", direct), ("delay 0", immediate)):
        taken = _round_trips_us(port)
        _report(
            figure="round trip of 100 bytes",
            through=what,
            median_us=taken[len(taken) // 2],
            p99_us=taken[len(taken) * 99 // 100],
        )
    open_ones = [socket.create_connection(("127.0.0.1", immediate)) for _ in range(_IDLE_CONNECTIONS)]
    time.sleep(0.5)
    before_s = _cpu_s(pid)
    time.sleep(_IDLE_S)
    idle_percent = (_cpu_s(pid) - before_s) / _IDLE_S * 100
    _report(figure="idle", connections=len(open_ones), cpu_percent=idle_percent, pss_mb=_pss_mb(pid))
    for connection in open_ones:
        connection.close()


if __name__ == "__main__":
    main()
