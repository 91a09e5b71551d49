"""A compiled twin is used when it is there whole, and not a moment earlier."""

import importlib
import threading
from pathlib import Path

import pytest

from qnetem.runtime.compiled import loaded


def test_a_module_that_a_thread_is_importing_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "slow_twin.py").write_text(
        "import builtins\nbuiltins._twin[0].set()\nbuiltins._twin[1].wait(60)\nkernel = 1\n"
    )
    monkeypatch.setattr("builtins._twin", (begun, go_on), raising=False)
    assert loaded("slow_twin") is None
    importing = threading.Thread(target=importlib.import_module, args=("slow_twin",))
    importing.start()
    assert begun.wait(60)
    assert loaded("slow_twin") is None
    go_on.set()
    importing.join()
    assert loaded("slow_twin").kernel == 1
