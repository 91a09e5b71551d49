"""qnetem.runtime.health: standard gRPC health and reflection of a process. Edge.

Service "" says that the process serves; `qnetem.links` that its links are OPERATING. Neither depends on the other.
"""

from collections.abc import Sequence
from typing import Final

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer as _AsyncHealthServicer
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer

from qnetem.runtime.rpc import Registration

__all__ = ["LINKS", "Health"]

LINKS: Final = "qnetem.links"
_STATUS = health_pb2.HealthCheckResponse


class Health:
    """What a process says of itself."""

    def __init__(self) -> None:
        """Start out as not serving, with no link in service."""
        self._servicer = _AsyncHealthServicer()
        self._is: dict[str, bool] = {}

    async def set_serving(self, is_serving: bool) -> None:
        """Say whether the process serves."""
        await self._set("", is_serving)

    async def set_links(self, is_in_service: bool) -> None:
        """Say whether every link of this process is OPERATING."""
        await self._set(LINKS, is_in_service)

    async def _set(self, service: str, is_serving: bool) -> None:
        if self._is.get(service) is not is_serving:
            self._is[service] = is_serving
            await self._servicer.set(service, _STATUS.SERVING if is_serving else _STATUS.NOT_SERVING)

    def registrations(self, services: Sequence[str], allowed: Sequence[str]) -> list[Registration]:
        """Return health, and reflection of `services`, as registrations of a listener for the callers `allowed`."""
        names = (
            *services,
            health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
            reflection.SERVICE_NAME,
        )
        return [
            Registration(
                health_pb2_grpc.add_HealthServicer_to_server,
                self._servicer,
                "grpc.health.v1.Health",
                {"*": allowed},
            ),
            Registration(
                reflection_pb2_grpc.add_ServerReflectionServicer_to_server,
                ReflectionServicer(service_names=names),
                reflection.SERVICE_NAME,
                {"*": allowed},
            ),
        ]
