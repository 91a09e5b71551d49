"""node.keys.audit_config: how the audit trail is cut and kept, as a node's configuration says it. Pure."""

from node.keys.audit_files import AuditLimits
from qnetem.runtime.errors import BadInputError
from qnetem.v1.process_pb2 import AuditConfig

__all__ = ["audit_limits_of"]


def audit_limits_of(config: AuditConfig) -> AuditLimits:
    """Return the limits of a configuration; what it does not say is as by default.

    Raises:
        BadInputError: A time is below 0.
    """
    default = AuditLimits()
    if not (config.segment_s >= 0 and config.keep_s >= 0):
        raise BadInputError(f"audit: a file of {config.segment_s} s, kept for {config.keep_s} s: not at least 0")
    return AuditLimits(
        segment_bytes=config.segment_bytes or default.segment_bytes,
        segment_s=config.segment_s or default.segment_s,
        keep_bytes=config.keep_bytes or default.keep_bytes,
        keep_s=config.keep_s or default.keep_s,
    )
