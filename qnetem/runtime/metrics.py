"""qnetem.runtime.metrics: /metrics of a process for Prometheus, plain HTTP on its management side. Edge."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from qnetem.runtime.errors import StartError
from qnetem.runtime.rpc import split_address

__all__ = ["serve_metrics"]


@asynccontextmanager
async def serve_metrics(address: str, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Serve GET /metrics on `address` while the block runs.

    Raises:
        StartError: The address cannot be bound; names it.
    """
    from aiohttp import web  # 0.35 s: not for those who only import this module

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, port = split_address(address)
    try:
        try:
            await web.TCPSite(runner, host, port, reuse_address=True).start()
        except OSError as error:
            raise StartError(f"cannot listen on {address}: {error.strerror}") from error
        yield
    finally:
        await runner.cleanup()
