"""qnetem.runtime.telemetry: hand-off of metrics to MQTT. Edge. It may drop, never block, and counts what it dropped."""

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter

from qnetem.runtime.log import get_logger
from qnetem.v1 import process_pb2

__all__ = ["Telemetry", "publish_forever"]

_log = get_logger("runtime.telemetry")
_QUEUE_LIMIT: Final = 1000
_BACKOFF_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0)
_PUBLISH_TIMEOUT_S: Final = 5.0

Value = str | int | float | bool | None


class Telemetry:
    """A bounded queue between those who measure and the one task that publishes."""

    def __init__(self, metrics: CollectorRegistry) -> None:
        """Count what is published and dropped in `metrics`."""
        self._queue: deque[tuple[str, bytes]] = deque()
        self._filled = asyncio.Event()
        self._is_on = False
        self._dropped = Counter(
            "qnetem_telemetry_dropped",
            "Messages that were dropped because the broker did not take them.",
            registry=metrics,
        )
        self._published = Counter("qnetem_telemetry_published", "Messages that the broker took.", registry=metrics)

    def publish(self, topic: str, payload: Mapping[str, Value]) -> None:
        """Hand a message over for qnetem/<testbed>/<process>/`topic`; the oldest is dropped when the queue is full."""
        if not self._is_on:
            return
        if len(self._queue) >= _QUEUE_LIMIT:
            self._queue.popleft()
            self._dropped.inc()
        self._queue.append((topic, json.dumps(dict(payload)).encode()))
        self._filled.set()

    def open(self) -> None:
        """Start to take messages: there is a publisher."""
        self._is_on = True

    async def take(self) -> tuple[str, bytes]:
        """Wait for the oldest message and take it. The one in hand when the broker dies is lost with it (QoS 0)."""
        while not self._queue:
            self._filled.clear()
            await self._filled.wait()
        return self._queue.popleft()

    def count_published(self) -> None:
        """Count a message that the broker took."""
        self._published.inc()


async def publish_forever(
    telemetry: Telemetry,
    config: process_pb2.TelemetryConfig,
    own: process_pb2.CredentialPaths,
    testbed: str,
    process: str,
) -> None:
    """Publish what is handed over until cancelled; reconnect with backoff. A dead broker costs messages only.

    The testbed's broker is shown the process's `own` certificate too; one of another authority is not.
    """
    import aiomqtt  # imported here: a process without telemetry does not pay for it

    telemetry.open()
    attempt = 0
    while True:
        try:
            context = ssl.create_default_context(cafile=config.authority_path or own.authority_path)
            if not config.authority_path:
                context.load_cert_chain(own.certificate_path, own.key_path)
            password = Path(config.password_path).read_text().strip() if config.password_path else None
            async with aiomqtt.Client(
                config.host,
                config.port,
                username=config.username or None,
                password=password,
                identifier=f"{testbed}-{process}",
                tls_context=context,
                timeout=_PUBLISH_TIMEOUT_S,
            ) as client:
                _log.info("telemetry.broker.connected", host=config.host, port=config.port)
                attempt = 0
                while True:
                    topic, data = await telemetry.take()
                    await client.publish(f"qnetem/{testbed}/{process}/{topic}", data, qos=0)
                    telemetry.count_published()
        except (aiomqtt.MqttError, OSError) as error:
            if attempt == 0:
                _log.warning("telemetry.broker.lost", error=type(error).__name__, detail=str(error))
        except Exception:
            # whatever a client library does, or a file holds, the process goes on without telemetry
            if attempt == 0:
                _log.exception("telemetry.publisher.failed")
        await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
        attempt += 1
