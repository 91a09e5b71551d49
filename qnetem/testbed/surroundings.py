"""qnetem.testbed.surroundings: what a command that runs beside a node finds in its environment. Pure.

Addresses, names and paths, as the node itself was told them; a credential is named by its path, never by its value.
"""

from collections.abc import Mapping

from qnetem.runtime import identity
from qnetem.v1 import process_pb2

__all__ = ["environment_of"]


def environment_of(
    config: process_pb2.ProcessConfig, listeners: Mapping[str, str], mqtt: str, topology_path: str
) -> dict[str, str]:
    """Return the variables of a node that was told `config`; what it does not have is left out.

    Args:
        config: What the node was told.
        listeners: Where this machine finds its listeners; a container binds others.
        mqtt: The same of the testbed's broker; "": where the node itself finds one.
        topology_path: The topology file.
    """
    found = {
        "QNETEM_TESTBED": config.testbed,
        "QNETEM_NODE": config.name,
        "QNETEM_TOPOLOGY": topology_path,
        "QNETEM_STATE_DIR": config.state_dir,
        "QNETEM_URI": identity.uri(config.testbed, "node", config.name),
        "QNETEM_DNS_NAME": identity.dns_name(config.testbed, "node", config.name),
        "QNETEM_CERTIFICATE_PATH": config.credentials.certificate_path,
        "QNETEM_KEY_PATH": config.credentials.key_path,
        "QNETEM_AUTHORITY_PATH": config.credentials.authority_path,
    }
    found |= {f"QNETEM_{listener.upper()}_ADDRESS": address for listener, address in listeners.items()}
    if listeners.get("https"):
        found["QNETEM_KME_URL"] = f"https://{listeners['https']}"
    if config.HasField("telemetry"):
        telemetry = config.telemetry
        host, _, port = mqtt.rpartition(":") if mqtt else (telemetry.host, "", str(telemetry.port))
        found |= {
            "QNETEM_MQTT_HOST": host,
            "QNETEM_MQTT_PORT": port,
            "QNETEM_MQTT_USERNAME": telemetry.username,
            "QNETEM_MQTT_PASSWORD_PATH": telemetry.password_path,
            "QNETEM_MQTT_AUTHORITY_PATH": telemetry.authority_path or config.credentials.authority_path,
            "QNETEM_MQTT_TOPIC": f"qnetem/{config.testbed}/{config.name}",
        }
    return {name: value for name, value in found.items() if value}
