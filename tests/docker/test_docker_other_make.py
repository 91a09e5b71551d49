"""A node of another make in containers: the example's topology on the compose runtime, a key at both ends."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from other_make import EXAMPLE, built_agent
from other_make_image import image_of

from qnetem import Testbed
from qnetem.testbed.containers.project import project_name

WITHIN = "180s"
TAG = "qnetem-other-make:0.1.0"


@pytest.fixture(scope="module")
def theirs(image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the example's image beside ours."""
    image_of(built_agent(), tmp_path_factory.mktemp("context"), TAG)
    return TAG


def containers_of(project: str) -> str:
    command = ["docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={project}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


async def has_same_key(testbed: Testbed, master: str, slave: str) -> bool:
    [key] = await testbed.sae(master).enc_keys(slave)
    [same] = await testbed.sae(slave).dec_keys(master, [key.key_id])
    return bool(key.material == same.material)


async def test_a_node_of_another_make_makes_keys_in_a_container(theirs: str, tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "topology.yaml", tmp_path)
    root = tmp_path / ".qnetem" / "other-make"
    async with Testbed.from_file(tmp_path / "topology.yaml", runtime="compose") as testbed:
        await testbed.wait_in_service(within=WITHIN)
        service = json.loads((root / "compose.json").read_text())["services"]["alice"]
        assert (service["image"], service["entrypoint"]) == (theirs, ["node", "src/main.js"])
        assert service["read_only"]

        assert await testbed.eventually(lambda: has_same_key(testbed, "app-1", "app-2"), within=WITHIN)
        assert await testbed.eventually(lambda: has_same_key(testbed, "app-2", "app-1"), within=WITHIN)

        # kill -9: it comes back to what it had
        [kept] = await testbed.sae("app-2").enc_keys("app-1")
        await testbed.node("alice").kill()
        await testbed.node("alice").wait_healthy(WITHIN)
        await testbed.wait_in_service(within=WITHIN)
        [same] = await testbed.sae("app-1").dec_keys("app-2", [kept.key_id])
        assert same.material == kept.material
    assert containers_of(project_name("other-make", root)) == ""
