"""qnetem.testbed.api: a testbed as a Python object, asynchronous and synchronous; `from qnetem import Testbed`."""

__all__: list[str] = []
