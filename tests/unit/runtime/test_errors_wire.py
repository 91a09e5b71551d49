"""Every error class can be made again from its text, as a client of it must."""

import importlib
import pkgutil

import classical_channel
import node
import qnetem
import quantum_channel
from qnetem.runtime.errors import QnetemError, error_class, first_known


def all_classes() -> dict[str, type[QnetemError]]:
    for package in (qnetem, quantum_channel, classical_channel, node):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", "_compiled", "_pb2", "_pb2_grpc")) and "pytest" not in module.name:
                importlib.import_module(module.name)
    return dict(QnetemError._by_reason)


def test_every_class_comes_back_from_its_reason_and_text() -> None:
    classes = all_classes()
    assert len(classes) > 25
    for reason, cls in classes.items():
        again = error_class(cls.status.name, reason)("what happened")
        assert type(again) is cls
        assert str(again) == "what happened"


def test_an_unknown_reason_falls_back_to_the_status() -> None:
    assert error_class("NOT_FOUND", "NEVER_HEARD").reason == "NOT_FOUND"
    assert error_class("DATA_LOSS", None) is QnetemError


def test_the_first_of_ours_is_found_in_a_group() -> None:
    ours = error_class("NOT_FOUND", None)("here")
    assert first_known(ExceptionGroup("x", [ValueError(), ExceptionGroup("y", [ours])])) is ours
    assert first_known(ValueError()) is None
