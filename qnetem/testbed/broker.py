"""qnetem.testbed.broker: the MQTT broker as a process of the testbed: the embedded one, or a mosquitto. Wiring.

`python -m qnetem.testbed.broker --config FILE`.
"""

import contextlib
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from qnetem.runtime import process as life
from qnetem.runtime import rpc
from qnetem.runtime.errors import BadInputError, StartError
from qnetem.runtime.process import Process
from qnetem.testbed.access import Access, users_from

__all__ = ["serve"]


def _access(process: Process) -> Access:
    path = process.config.broker.users_path
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from error
    return Access(process.testbed, users_from(text, path))


def _tls(process: Process) -> ssl.SSLContext:
    paths = process.config.credentials
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(paths.certificate_path, paths.key_path)
    except (OSError, ssl.SSLError) as error:
        raise StartError(f"{paths.certificate_path}: not usable for TLS") from error
    return context


@asynccontextmanager
async def _embedded(process: Process) -> AsyncIterator[None]:
    access, context = _access(process), _tls(process)
    from qnetem.testbed.mqtt import EmbeddedBroker  # 0.3 s: not for those who only import this module

    broker = EmbeddedBroker(process.config.broker.listen, access, context)
    await broker.start()
    try:
        yield
    finally:
        await broker.shutdown()


@asynccontextmanager
async def serve(process: Process) -> AsyncIterator[None]:
    """Run the broker, and health on the management listener, while the block runs.

    Raises:
        BadInputError: The configuration is not a broker's, or its users file is malformed; names the line.
        StartError: A file cannot be read or an address cannot be bound; names it.
    """
    config = process.config
    if not config.HasField("broker"):
        raise BadInputError(f"{process.name}: not the configuration of a broker")
    listen = config.broker.listen
    rpc.split_address(listen)
    async with contextlib.AsyncExitStack() as stack:
        if config.broker.program:
            from qnetem.testbed.mosquitto import mosquitto

            await stack.enter_async_context(mosquitto(process))
        else:
            await stack.enter_async_context(_embedded(process))
        if config.listeners.management:
            registrations = process.health.registrations((), process.operators)
            await stack.enter_async_context(rpc.serve(config.listeners.management, process.credentials, registrations))
        await process.health.set_links(True)
        process.log.info("broker.ready", address=listen)
        yield


if __name__ == "__main__":
    sys.exit(life.main(serve))
