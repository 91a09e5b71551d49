"""An image of the example of another make: what `built_agent` built, on a base that any of our engines has."""

import shutil
import subprocess
from pathlib import Path

from other_make import EXAMPLE

__all__ = ["image_of"]

# the example's own Dockerfile begins from an image of Node.js; Debian has one too
_DOCKERFILE = """\
FROM python:3.11-slim-bookworm
RUN apt-get update -qq && apt-get install -qq --no-install-recommends nodejs >/dev/null && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/agent
COPY . .
USER 10001:10001
ENTRYPOINT ["node", "/opt/agent/src/main.js"]
"""


def image_of(built: Path, folder: Path, tag: str) -> None:
    """Build the image `tag` in the empty folder `folder`."""
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    (folder / ".dockerignore").write_text("Dockerfile\n")
    for part in ("src", "package.json"):
        source = EXAMPLE / part
        shutil.copytree(source, folder / part) if source.is_dir() else shutil.copy(source, folder)
    shutil.copytree(built / "generated", folder / "generated")
    # what runs, without what builds
    ignored = shutil.ignore_patterns("buf", "buf-*", "protoc-gen-es", "protoplugin", "typescript", ".bin")

    def chosen(path: str, names: list[str]) -> set[str]:
        is_scope = Path(path).name == "@bufbuild"
        return ignored(path, names) if is_scope or Path(path).name == "node_modules" else set()

    shutil.copytree(built / "node_modules", folder / "node_modules", ignore=chosen)
    command = ["docker", "build", "--quiet", "--tag", tag, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
