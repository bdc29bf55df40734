"""Face recognition data is whole: encodings decode, images are there, and who is looked for is found."""

import contextlib
import json
import math
import random
import sqlite3
import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from spoqplus_backup.core.mysql.server import Connection
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.proof.evidence import Evidence
from spoqplus_backup.core.proof.query import reading
from spoqplus_backup.core.proof.scene import CheckFailed, Scene
from spoqplus_backup.core.recovery.files.places import place_of
from spoqplus_backup.core.run import component_names
from spoqplus_backup.core.settings import FaceCheckSettings

SAMPLE = 20  # encodings that are looked for among all
MOST_DISTANCES = 40_000_000  # that are computed: of 128 numbers, some microseconds each
NOISE = 0.01  # of an encoding's own size, added to each of its numbers
_COLUMNS = 4

Numbers = list[float]


@dataclass(frozen=True)
class Face:
    """A row of the query."""

    id: str
    member: str
    encoding: object
    image: str


@dataclass(frozen=True)
class _Known:
    """A face of the sample."""

    id: str
    member: str
    numbers: Numbers


@dataclass
class _Seen:
    """What the first pass counted, and the sample that it took."""

    rows: int = 0
    members: int = 0
    images: int = 0
    sample: list[_Known] = field(default_factory=list)


def check(scene: Scene) -> Sequence[Notice]:
    """Go through all encodings twice: are they whole, and whose is nearest to each of a sample.

    Raises:
        CheckFailed: something is not whole, or somebody else was found.
    """
    faces = scene.settings.recovery_test.faces
    assert faces is not None  # noqa: S101 (the check applies only with them)
    kept = faces.images in component_names(scene.settings)
    images = _Images(scene, faces.images) if faces.images is not None and kept else None
    faults = Evidence()
    with reading(scene.login) as connection, _Members(scene.directory) as members:
        seen = _look_at_all(scene, connection, faces, images, members, faults)
        looked_for = seen.sample[: max(1, MOST_DISTANCES // max(1, seen.rows))]
        for fault in _look_for(connection, faces, looked_for, random.Random(scene.plan.backup)):  # noqa: S311 (no secret)
            faults.add(fault)
    good = [
        notice(
            "check.faces.whole",
            "{rows} encodings of {members} members: each has {dimensions} finite numbers.",
            rows=f"{seen.rows:,}",
            members=f"{seen.members:,}",
            dimensions=faces.dimensions,
        ),
        notice(
            "check.faces.matched",
            "{sample} of them, slightly changed, were looked for among all: each time their own member was nearest.",
            sample=len(looked_for),
        ),
    ]
    if images is not None:
        good.append(notice("check.faces.images", "{images} images are there.", images=f"{seen.images:,}"))
    elif faces.images is not None:
        sentence = "Images are not looked at: the site does not back up {component}."
        good.append(notice("check.faces.no_images", sentence, component=faces.images))
    return faults.judge(good)


def decode(encoding: object, dimensions: int) -> Numbers:
    """The numbers of an encoding: a JSON array, or packed little-endian floats of four or eight bytes.

    Raises:
        ValueError: it is none of them. `json` raises it, too.
    """
    if isinstance(encoding, bytes) and not encoding.lstrip().startswith(b"["):
        return _unpacked(encoding, dimensions)
    if isinstance(encoding, bytes):
        with contextlib.suppress(ValueError):
            return _array(encoding)
        return _unpacked(encoding, dimensions)
    if isinstance(encoding, str):
        return _array(encoding)
    raise ValueError("is neither text nor bytes")


def _array(text: str | bytes) -> Numbers:
    numbers = json.loads(text)
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        raise ValueError("is no array of numbers")
    return [float(number) for number in numbers]


def _unpacked(packed: bytes, dimensions: int) -> Numbers:
    for letter, size in (("f", 4), ("d", 8)):
        if len(packed) == size * dimensions:
            return list(struct.unpack(f"<{dimensions}{letter}", packed))
    raise ValueError("has another length")


def _rows(connection: Connection, faces: FaceCheckSettings) -> Iterator[Face]:
    for row in connection.stream(faces.query):
        check_cancelled()
        if len(row) != _COLUMNS:
            raise CheckFailed(
                notice(
                    "check.faces.columns",
                    "`recovery_test.faces.query` gives {count} columns: make it give id, member, encoding and image "
                    "path.",
                    count=len(row),
                )
            )
        yield Face(str(row[0]), str(row[1]), row[2], str(row[3] or ""))


def _look_at_all(
    scene: Scene,
    connection: Connection,
    faces: FaceCheckSettings,
    images: "_Images | None",
    members: "_Members",
    faults: Evidence,
) -> _Seen:
    """Decode every encoding, look for every image, and take a sample: the same one for the same backup.

    Raises:
        CheckFailed: there is no encoding at all.
    """
    seen = _Seen()
    chance = random.Random(scene.plan.backup)  # noqa: S311 (no secret)
    for face in _rows(connection, faces):
        seen.rows += 1
        if images is not None and face.image:
            seen.images += 1
            if not images.has(face.image):
                faults.add(
                    notice(
                        "check.faces.image",
                        "Encoding {id} of member {member}: its image {image} is missing.",
                        id=face.id,
                        member=face.member,
                        image=face.image,
                    )
                )
        numbers = _whole(face, faces.dimensions, faults)
        if numbers is None:
            continue
        other = members.add(face.member, numbers)
        if other is not None:
            faults.add(
                notice(
                    "check.faces.twins",
                    "Members {member} and {other} have one and the same encoding (that of {id}): nobody can tell them "
                    "apart.",
                    member=face.member,
                    other=other,
                    id=face.id,
                )
            )
        known = _Known(face.id, face.member, numbers)
        if len(seen.sample) < SAMPLE:
            seen.sample.append(known)
        elif (place := chance.randrange(seen.rows)) < SAMPLE:
            seen.sample[place] = known
    if not seen.rows:
        raise CheckFailed(
            notice(
                "check.faces.none",
                "`recovery_test.faces.query` found no encoding, so nothing was proved: correct it, or set "
                "`recovery_test.faces` to null where there are none.",
            )
        )
    seen.members = members.count
    return seen


def _whole(face: Face, dimensions: int, faults: Evidence) -> Numbers | None:
    """The numbers of a face; None when they are not as they should be."""
    names = {"id": face.id, "member": face.member}
    try:
        numbers = decode(face.encoding, dimensions)
    except ValueError:
        faults.add(
            notice(
                "check.faces.unreadable",
                "Encoding {id} of member {member} is neither a whole JSON array of numbers nor {expected} packed "
                "floats.",
                **names,
                expected=dimensions,
            )
        )
        return None
    if len(numbers) != dimensions:
        faults.add(
            notice(
                "check.faces.length",
                "Encoding {id} of member {member} has {found} numbers, not {expected}.",
                **names,
                found=len(numbers),
                expected=dimensions,
            )
        )
        return None
    if not all(map(math.isfinite, numbers)):
        faults.add(
            notice(
                "check.faces.not_finite",
                "Encoding {id} of member {member} holds numbers that are not finite (NaN or infinity).",
                **names,
            )
        )
        return None
    return numbers


def _look_for(
    connection: Connection, faces: FaceCheckSettings, sample: Sequence[_Known], chance: random.Random
) -> Iterator[Notice]:
    """Change each of the sample slightly, and see whose encoding is nearest among all."""
    asked = [_noisy(known.numbers, chance) for known in sample]
    nearest: list[tuple[float, str]] = [(math.inf, "")] * len(sample)
    for face in _rows(connection, faces):
        numbers = _whole(face, faces.dimensions, Evidence())
        if numbers is None:
            continue
        for place, question in enumerate(asked):
            distance = math.dist(question, numbers)
            if distance < nearest[place][0]:
                nearest[place] = (distance, face.member)
    for known, (_, member) in zip(sample, nearest, strict=True):
        if member != known.member:
            yield notice(
                "check.faces.mismatch",
                "Encoding {id} of member {member}, slightly changed, is nearest to one of member {found}.",
                id=known.id,
                member=known.member,
                found=member,
            )


def _noisy(numbers: Numbers, chance: random.Random) -> Numbers:
    size = math.sqrt(sum(number * number for number in numbers) / len(numbers))
    return [number + chance.gauss(0, NOISE * size) for number in numbers]


class _Images:
    """The restored images of a component."""

    def __init__(self, scene: Scene, component: str) -> None:
        planned = next((one for one in scene.plan.files if one.name == component), None)
        if planned is None:
            raise CheckFailed(
                notice(
                    "check.faces.not_restored",
                    "{component} was not restored from {backup}, so no image can be looked at.",
                    component=component,
                    backup=scene.plan.backup,
                )
            )
        self._root = Path(planned.root)
        self._tops = [place_of(self._root, top).target for top in planned.tops]

    def has(self, path: str) -> bool:
        """Whether an image is there: by its absolute name, or below the folder, whose own name may come first."""
        if path.startswith("/"):
            return self._is_file(self._root / path.lstrip("/"))
        return any(self._is_file(top / path) or self._is_file(top.parent / path) for top in self._tops)

    def _is_file(self, path: Path) -> bool:
        resolved = path.resolve()
        return resolved.is_file() and any(resolved.is_relative_to(top.resolve()) for top in self._tops)


class _Members:
    """Whose each encoding is, by a hash, in a file that is gone afterwards: memory does not grow with the members."""

    def __init__(self, directory: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="faces-", dir=directory)
        self._db = sqlite3.connect(Path(self._folder.name, "members.sqlite"), isolation_level=None)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE face (hash BLOB PRIMARY KEY, member TEXT) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def add(self, member: str, numbers: Numbers) -> str | None:
        """Note an encoding; another member who has the same one, None as a rule."""
        digest = blake2b(struct.pack(f"<{len(numbers)}d", *numbers), digest_size=16).digest()
        if self._db.execute("INSERT OR IGNORE INTO face VALUES (?, ?)", (digest, member)).rowcount:
            return None
        (first,) = self._db.execute("SELECT member FROM face WHERE hash = ?", (digest,)).fetchone()
        return None if first == member else str(first)

    @property
    def count(self) -> int:
        """How many members there are."""
        return int(self._db.execute("SELECT COUNT(DISTINCT member) FROM face").fetchone()[0])

    def __enter__(self) -> "_Members":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._db.close()
        self._folder.cleanup()
