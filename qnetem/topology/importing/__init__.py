"""qnetem.topology.importing: networks that others have drawn (GML, GraphML) become topologies. Wiring: names only."""

from qnetem.topology.importing.conversion import Imported, converted
from qnetem.topology.importing.naming import default_name
from qnetem.topology.importing.network import Decision, Network, Place, Site
from qnetem.topology.importing.reading import read
from qnetem.topology.importing.settings import Settings

__all__ = ["Decision", "Imported", "Network", "Place", "Settings", "Site", "converted", "default_name", "read"]
