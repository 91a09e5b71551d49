"""Keys at rest: sealed row by row, opened by one storage key alone, rotated whatever dies on the way."""

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from node.keys import connection, group_commit
from node.keys.records import BlockRole
from node.keys.secret import SecretBytes
from node.keys.storage_key import Vault, WrongStorageKeyError
from node.keys.store import KeyStore, open_store
from qnetem.runtime.errors import StorageError
from qnetem.runtime.storage_key_file import make_storage_key, next_path

SECRET = bytes(range(1, 129)) * 24  # three chunks


async def fill(store: KeyStore) -> str:
    """A block, and a key drawn here that waits for its slave; return the key's id."""
    await store.prepare("b1", "l", "peer", SECRET, 8 * len(SECRET), BlockRole.TRANSMITTER)
    await store.commit("b1")
    await store.confirm("b1")
    [local] = await store.reserve("app-1", ["app-1b"], "", 1, 256)
    await store.deliver([local.key_id])
    return local.key_id


async def spend(store: KeyStore) -> bytes:
    """The next key of the block."""
    [key] = await store.reserve("app-1", [], "peer", 1, 256)
    return (await store.deliver([key.key_id]))[0].key.reveal()


async def test_another_key_and_no_key_are_refused_in_one_line(tmp_path: Path) -> None:
    path, key_path = tmp_path / "s" / "keys.db", tmp_path / "storage.key"
    with pytest.raises(StorageError, match=f"storage key {key_path}: No such file"):
        async with open_store(path, key_path=key_path):
            pass
    make_storage_key(key_path)
    assert key_path.stat().st_mode & 0o777 == 0o600
    async with open_store(path, key_path=key_path) as store:
        await fill(store)
    other = tmp_path / "other.key"
    make_storage_key(other)
    with pytest.raises(WrongStorageKeyError, match=f"{path}: is not sealed under the storage key in {other}"):
        async with open_store(path, key_path=other):
            pass
    async with open_store(path, key_path=key_path) as store:
        assert await spend(store) == SECRET[:32]


@pytest.mark.parametrize(
    ("text", "mode", "refusal"),
    [
        ("0" * 63, 0o600, "does not hold 64 hexadecimal digits"),
        ("0" * 62 + "xy", 0o600, "does not hold 64 hexadecimal digits"),
        ("0" * 64, 0o640, "mode 0640 lets others read it"),
    ],
)
async def test_a_file_that_is_no_storage_key(tmp_path: Path, text: str, mode: int, refusal: str) -> None:
    key_path = tmp_path / "storage.key"
    key_path.write_text(text)
    key_path.chmod(mode)
    with pytest.raises(StorageError, match=refusal) as caught:
        async with open_store(tmp_path / "s" / "keys.db", key_path=key_path):
            pass
    assert text not in str(caught.value)


def test_a_key_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "storage.key"
    make_storage_key(path)
    text = path.read_text()
    make_storage_key(path)
    assert path.read_text() == text


async def test_nothing_of_a_secret_lies_in_the_clear_and_altered_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s" / "keys.db"
    async with open_store(path) as store:
        await fill(store)
        files = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert not any(SECRET[at : at + 16] in files for at in range(0, 128, 16))
    with contextlib.closing(sqlite3.connect(path)) as db:
        first, second, _ = (row[0] for row in db.execute("SELECT sealed FROM secrets ORDER BY id"))
        db.execute("UPDATE secrets SET sealed = ? WHERE sealed = ?", (second, first))
        db.commit()
    async with open_store(path) as store:
        with pytest.raises(StorageError, match="altered, or put in another's place"):
            await spend(store)
        # and nothing was taken
        assert (await store.pool("peer")).available_bits == 4 * len(SECRET) - 256


async def test_a_row_of_another_store_is_refused() -> None:
    data_key = os.urandom(32)
    sealed = Vault(data_key, b"a" * 16).seal(SECRET, b"p")
    assert Vault(data_key, b"a" * 16).open(sealed, b"p") == SECRET
    for vault, place in ((Vault(data_key, b"b" * 16), b"p"), (Vault(data_key, b"a" * 16), b"q")):
        with pytest.raises(StorageError, match="altered"):
            vault.open(sealed, place)
    assert Vault(data_key, b"a" * 16).seal(SECRET, b"p")[:12] != sealed[:12]


class Crash(BaseException):
    """The process is killed here."""


@pytest.mark.parametrize("point", ["", "store.rotate.before", "store.rotate.after"])
async def test_rotation_leaves_every_key_and_the_old_key_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    path, key_path = tmp_path / "s" / "keys.db", tmp_path / "storage.key"
    make_storage_key(key_path)
    old = key_path.read_bytes()

    def reach(name: str) -> None:
        if name == point:
            raise Crash

    async with open_store(path, key_path=key_path) as store:
        local = await fill(store)
        assert not await store.rotate_storage_key()
        make_storage_key(next_path(key_path))
        monkeypatch.setattr(group_commit.crashpoint, "reach", reach)
        if point:
            with pytest.raises(Crash):
                await store.rotate_storage_key()
        else:
            assert await store.rotate_storage_key()
        monkeypatch.undo()
        # the process goes on with what is on the disk, as one that starts does
        assert await spend(store) == SECRET[:32]
    async with open_store(path, key_path=key_path) as store:
        assert await store.rotate_storage_key() == (point == "store.rotate.before")
        assert not await store.rotate_storage_key()
    next_path(key_path).replace(key_path)
    async with open_store(path, key_path=key_path) as store:
        assert await spend(store) == SECRET[32:64]
        assert [key.key_id for key in await store.collect("app-1b", "app-1", [local])] == [local]
        assert (await store.audit.verify()).fault == ""
    key_path.write_bytes(old)
    with pytest.raises(WrongStorageKeyError):
        async with open_store(path, key_path=key_path):
            pass


async def test_a_rotation_that_finds_an_altered_row_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s" / "keys.db"
    async with open_store(path) as store:
        await fill(store)
        sealed = await store._commit.run(None, lambda db: connection.of(db).vault.seal(b"x", b"elsewhere"))
        await store._commit.run(
            None,
            lambda db: db.execute("UPDATE secrets SET sealed = ? WHERE id = (SELECT max(id) FROM secrets)", (sealed,)),
        )
        make_storage_key(next_path(connection.default_key_path(path)))
        with pytest.raises(StorageError, match="altered"):
            await store.rotate_storage_key()
        assert await spend(store) == SECRET[:32]


def test_what_was_wiped_reveals_nothing() -> None:
    buffer = bytearray(b"secret")
    value = SecretBytes(buffer)
    assert value.reveal() == b"secret"
    value.wipe()
    assert buffer == bytes(6)
    assert value.reveal() == b""
