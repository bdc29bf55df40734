"""The files of the demonstration's web server: made, looked at, damaged."""

import hashlib
import io
import os
import random
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image

UPLOADS, LOGS, CONFIG, ENVIRONMENT, FACES = (
    "public/uploads",
    "writable/logs",
    "app/Config",
    ".env",
    "face_images",
)
TOPS = (UPLOADS, LOGS, CONFIG, ENVIRONMENT, FACES)

PICTURES, PICTURE_BYTES = 200, 20_000
FACE_IMAGES, FACE_BYTES = 24, 8_000
TAKEN = 1_735_689_600  # whole seconds: the index of face images knows a time to some hundred nanoseconds
DAYS, LINES = 14, 2_000
CONFIGURATIONS = ("App", "Database", "Routes", "Cache", "Email")

DAMAGE = (
    "rm -r public/uploads/회원/1*",
    "for f in app/Config/*.php; do echo '<?php /* pay in bitcoin */' > $f; done",
    "find face_images -name '*5.jpg' -delete",
    "truncate -s 0 .env writable/logs/*-07.log",
)

Seen = Mapping[str, str]
Trees = Mapping[str, Seen]


def make(www: Path) -> None:
    """A web server's files: pictures with Korean names and links among them, logs, configuration, face images."""
    rng = random.Random(1)
    drawn = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(drawn, "JPEG")

    def picture(size: int) -> bytes:  # what stands behind the end of a picture nobody looks at
        return drawn.getvalue() + rng.randbytes(size - len(drawn.getvalue()))

    def write(name: str, content: bytes) -> Path:
        path = www / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    for number in range(PICTURES):
        write(f"{UPLOADS}/회원/{number % 20:02d}/사진 {number}.jpg", picture(PICTURE_BYTES))
    cover = write(f"{UPLOADS}/cover.jpg", picture(PICTURE_BYTES))
    (www / UPLOADS / "first.jpg").hardlink_to(cover)
    (www / UPLOADS / "newest.jpg").symlink_to("회원/19/사진 199.jpg")
    for day in range(1, DAYS + 1):
        lines = (f"INFO 2025-01-{day:02d} 출입 {rng.randrange(10_000)}\n" for _ in range(LINES))
        write(f"{LOGS}/log-2025-01-{day:02d}.log", "".join(lines).encode())
    for name in CONFIGURATIONS:
        write(f"{CONFIG}/{name}.php", f"<?php\nclass {name} {{ public $key = '{rng.random()}'; }}\n".encode())
    write(ENVIRONMENT, b"APP_NAME='SPOQ Plus'\nDB_PASSWORD='only in this demonstration'\n").chmod(0o600)
    for number in range(FACE_IMAGES):
        write(f"{FACES}/{number // 10}/{number:03d}.jpg", picture(FACE_BYTES))
    for path in (www / FACES, *(www / FACES).rglob("*")):
        os.utime(path, (TAKEN, TAKEN))


def observe(www: Path) -> Trees:
    """Of each top every file, folder and link, with all that a restore has to bring back."""
    return {top: dict(_below(www / top)) for top in TOPS}


def _below(top: Path) -> Iterator[tuple[str, str]]:
    for path in (top, *sorted(top.rglob("*"))):
        status = path.lstat()
        facts: list[object] = [oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns]
        if path.is_symlink():
            facts.append(path.readlink())
        elif path.is_file():
            facts += [status.st_nlink, hashlib.sha256(path.read_bytes()).hexdigest()]
        yield str(path.relative_to(top)), " ".join(map(str, facts))


def damage(www: Path) -> None:
    """Do what nobody wants to see; raises CalledProcessError when a command fails."""
    for command in DAMAGE:
        subprocess.run(["bash", "-c", command], cwd=www, check=True, stdin=subprocess.DEVNULL)


def count(found: Trees) -> int:
    """Everything that was looked at."""
    return sum(map(len, found.values()))


def changed(before: Seen, after: Seen) -> int:
    """How many are not what they were."""
    return sum(before.get(name) != after.get(name) for name in before.keys() | after.keys())
