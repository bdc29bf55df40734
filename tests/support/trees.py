"""Trees of files as a backup meets them, and what has to be the same after a restore."""

import hashlib
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

HOLE_BYTES = 8 << 20


def nasty_tree(root: Path) -> None:
    """Everything that a file system lets a site have."""
    root.mkdir(parents=True)
    names = ["회원 사진.jpg", "new\nline", "-rf", "*", "quote'\"\\", " ", "tab\t", "한" * 80, "a" * 255, "equals=1"]
    for number, name in enumerate(names):
        (root / name).write_bytes(os.urandom(number * 700))
    (root / os.fsdecode(b"not utf-8 \xff\xfe")).write_bytes(b"bytes")
    (root / "빈 폴더").mkdir()
    deep = root / "/".join(["깊은 폴더"] * 20)
    deep.mkdir(parents=True)
    (deep / "leaf").write_text("leaf")
    (root / "empty").touch()
    (root / "large").write_bytes(os.urandom(3 << 20))
    os.link(root / "large", root / "빈 폴더" / "hard link")
    (root / "link").symlink_to("회원 사진.jpg")
    (root / "dangling").symlink_to("/no/such\nplace")
    (root / "to a folder").symlink_to("빈 폴더")
    os.mkfifo(root / "fifo", 0o640)
    with (root / "sparse").open("wb") as file:
        for number in range(5):
            file.seek((2 * number + 1) * HOLE_BYTES)
            file.write(os.urandom(5000))
        file.truncate(12 * HOLE_BYTES + 123)
    (root / "all holes").open("wb").truncate(HOLE_BYTES)
    (root / "modes").mkdir()
    for mode in (0o400, 0o644, 0o750, 0o4755, 0o2755, 0o000):
        (root / "modes" / f"{mode:04o}").touch()
        (root / "modes" / f"{mode:04o}").chmod(mode)
    (root / "modes").chmod(0o1777)
    os.setxattr(root / "large", "user.note", "값\0=\n".encode())
    os.setxattr(root / "빈 폴더", "user.empty", b"")
    for arguments in (["-m", "u:12345:rwx,g:23456:r"], ["-d", "-m", "u:12345:rx"]):
        subprocess.run(["setfacl", *arguments, root / "modes"], check=True)
    subprocess.run(["setfacl", "-m", "u:12345:r", root / "empty"], check=True)
    if os.geteuid() == 0:
        os.chown(root / "empty", 33, 34)
        os.chown(root / "link", 54321, 54322, follow_symlinks=False)
        os.chown(root / "large", 1 << 22, 1 << 23)
    for number, path in enumerate([root / "회원 사진.jpg", root / "link", root / "빈 폴더", root]):
        moment = 1_000_000_000_123_456_789 + number * 10**17
        os.utime(path, ns=(moment, moment), follow_symlinks=False)
    os.utime(root / "empty", ns=(0, -(10**9)))


def described(root: Path) -> dict[bytes, dict[str, Any]]:
    """Of each path below the root, by its name: everything that a restore has to bring back."""
    links: dict[tuple[int, int], list[bytes]] = {}
    found: dict[bytes, dict[str, Any]] = {}
    below = [Path(folder, name) for folder, folders, files in os.walk(root) for name in (*files, *folders)]
    for path in (root, *below):
        name, status = os.fsencode(path.relative_to(root)), path.lstat()
        found[name] = _described(path, status)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            links.setdefault((status.st_dev, status.st_ino), []).append(name)
    for group in links.values():
        for name in group:
            found[name]["linked"] = sorted(group)
    return found


def _described(path: Path, status: os.stat_result) -> dict[str, Any]:
    attributes = [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith("security.")]
    facts: dict[str, Any] = {
        "mode": oct(status.st_mode),
        "owner": (status.st_uid, status.st_gid),
        "modified": status.st_mtime_ns,
        "attributes": {name: os.getxattr(path, name, follow_symlinks=False) for name in attributes},
    }
    if stat.S_ISREG(status.st_mode):
        facts["content"] = _sha256(path)
        facts["size"] = status.st_size
        facts["sparse"] = status.st_size >= HOLE_BYTES and status.st_blocks * 512 < status.st_size // 2
    if stat.S_ISLNK(status.st_mode):
        facts["link"] = os.fsencode(path.readlink())
    return facts


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def differences(before: dict[bytes, dict[str, Any]], after: dict[bytes, dict[str, Any]]) -> list[str]:
    """What is not the same, a line each."""
    lines = [f"{name!r} is missing" for name in sorted(before.keys() - after.keys())]
    lines += [f"{name!r} should not be there" for name in sorted(after.keys() - before.keys())]
    for name in sorted(before.keys() & after.keys()):
        lines += [
            f"{name!r}: {fact} is {after[name].get(fact)!r}, not {value!r}"
            for fact, value in before[name].items()
            if after[name].get(fact) != value
        ]
    return lines


BY_HAND = """
set -euo pipefail
for part in "$1"/0*.tar.zst.age; do
    age -d -i "$2" "$part" | zstd -dq
done | tar --extract --listed-incremental=/dev/null --acls --xattrs --xattrs-include='*' --preserve-permissions -C "$3"
"""


def unpack_by_hand(component: Path, identity: Path, target: Path) -> None:
    """Restore one archive with age, zstd and tar, as the documentation says; `component` is its folder in a set."""
    target.mkdir(exist_ok=True)
    subprocess.run(["bash", "-c", BY_HAND, "unpack", component, identity, target], check=True, capture_output=True)
