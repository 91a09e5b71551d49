"""The example of a node of another make, built: its dependencies and generated code are kept from run to run."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["EXAMPLE", "built_agent", "copied_agent"]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "other_make"
# how npm says that its registry cannot be had
_AWAY = ("ENOTFOUND", "ECONNREFUSED", "ECONNRESET", "EAI_AGAIN", "ETIMEDOUT", "ENETUNREACH", "E403", "E503")


def built_agent() -> Path:
    """Return a folder with node_modules and the code generated from proto/; skip where it cannot be had, with why."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"a node of another make: no program {program}")
    of = [EXAMPLE / name for name in ("package.json", "package-lock.json", "buf.gen.yaml", ".npmrc")]
    of += [*sorted(EXAMPLE.glob("proto/**/*.proto")), *sorted(ROOT.glob("proto/**/*.proto"))]
    mark = hashlib.sha256(b"".join(path.read_bytes() for path in of)).hexdigest()[:12]
    folder = Path(sys.prefix) / f"other-make-{mark}"
    if (folder / "generated").exists():
        return folder
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    fresh.mkdir()
    try:
        for path in of[:4]:
            shutil.copy(path, fresh)
        shutil.copytree(EXAMPLE / "proto", fresh / "proto")
        _run(["npm", "ci", "--no-progress"], fresh)
        _run(["npm", "run", "build"], fresh)
        try:
            fresh.rename(folder)
        except OSError:  # another one was faster
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _run(command: list[str], folder: Path) -> None:
    environment = {**os.environ, "QNETEM_PROTO": str(ROOT / "proto")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode and any(why in done.stderr for why in _AWAY):
        pytest.skip(f"a node of another make: npm does not reach its registry: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr


def copied_agent(built: Path, folder: Path) -> None:
    """Have the example's source in `folder`, to run and to plant faults in."""
    shutil.copytree(EXAMPLE / "src", folder / "src")
    shutil.copy(EXAMPLE / "package.json", folder)
    for name in ("node_modules", "generated"):
        (folder / name).symlink_to(built / name)
