"""The uploads are readable: each file has the size and content of the backup's index, and images really open."""

import os
import random
import stat
from collections.abc import Callable, Iterator, Sequence

from PIL import Image

from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.progress import Progress, human_bytes
from spoqplus_backup.core.proof.evidence import Evidence
from spoqplus_backup.core.proof.scene import CheckFailed, Scene
from spoqplus_backup.core.recovery.files.beneath import Beneath
from spoqplus_backup.core.recovery.files.names import shown
from spoqplus_backup.core.recovery.files.replacing import ROOT
from spoqplus_backup.core.recovery.files.steps import restored_tree
from spoqplus_backup.core.recovery.files.tree import FileTree, Node
from spoqplus_backup.core.recovery.files.verify import digest_of

MOST_PIXELS = 60_000_000  # of an image that is opened, which takes four bytes for each
_IMAGES = (b".jpg", b".jpeg", b".png", b".gif", b".webp", b".bmp", b".tif", b".tiff")

Name = Callable[[Node], bytes]


def check(scene: Scene) -> Sequence[Notice]:
    """Read every file back, and open a sample of the images.

    An image that can't be opened though it is what was backed up was broken before: it is evidence, unless none opens.

    Raises:
        CheckFailed: files differ, or no image opens.
    """
    component = scene.settings.recovery_test.uploads
    assert component is not None  # noqa: S101 (the check applies only with one)
    with restored_tree(scene.settings, scene.plan, component) as (tree, name), Beneath(ROOT) as beneath:
        progress = Progress("uploads", tree.amount().bytes)
        faults, files = Evidence(), 0
        for node in tree.chosen():
            check_cancelled()
            if node.type != "directory":
                files += 1
                for fault in _faults(tree, node, name, beneath, progress):
                    faults.add(fault)
        same = notice(
            "check.uploads.same",
            "{files} files, {size}: each has the size and SHA-256 that the backup's index says.",
            files=f"{files:,}",
            size=human_bytes(progress.done),
        )
        faults.judge([])
        return [same, *_opened(scene, tree, name, beneath)]


def _faults(tree: FileTree, node: Node, name: Name, beneath: Beneath, progress: Progress) -> Iterator[Notice]:
    file = shown(node.path)
    status = _status(beneath, name(node))
    if status is None:
        yield notice("check.uploads.missing", "/{file} is missing.", file=file)
        return
    origin = tree.member(node.level, node.link or b"") if node.type == "hardlink" else node
    is_file = node.type in ("file", "hardlink")
    if is_file != stat.S_ISREG(status.st_mode):
        yield notice("check.uploads.type", "/{file} is no {type}.", file=file, type="file" if is_file else node.type)
    elif is_file and origin is not None and status.st_size != origin.size:
        yield notice(
            "check.uploads.size",
            "/{file} has {found} bytes; it had {expected} when it was backed up.",
            file=file,
            found=f"{status.st_size:,}",
            expected=f"{origin.size:,}",
        )
    elif is_file and origin is not None and origin.sha256 is not None:
        folder, _, step = name(node).rpartition(b"/")
        if digest_of(beneath.folder(folder), step, progress) != origin.sha256:
            yield notice(
                "check.uploads.content", "/{file} does not hold what it held when it was backed up.", file=file
            )


def _status(beneath: Beneath, name: bytes) -> os.stat_result | None:
    try:
        return beneath.status(name)
    except FileNotFoundError:  # the folder is gone, too
        return None


def _opened(scene: Scene, tree: FileTree, name: Name, beneath: Beneath) -> list[Notice]:
    images, sample = _sample(scene, tree)
    broken: list[Notice] = []
    for node in sample:
        check_cancelled()
        folder, _, step = name(node).rpartition(b"/")
        if words := _fault_of_image(beneath.folder(folder), step):
            broken.append(
                notice(
                    "check.uploads.image",
                    "/{file} can't be opened as an image, and was so when it was backed up: {words}.",
                    file=shown(node.path),
                    words=words,
                )
            )
    opened = notice(
        "check.uploads.opened",
        "{opened} of {sample} images were opened, out of {images}.",
        opened=f"{len(sample) - len(broken):,}",
        sample=f"{len(sample):,}",
        images=f"{images:,}",
    )
    if sample and len(broken) == len(sample):
        raise CheckFailed(opened, *broken)
    return [opened, *broken]


def _sample(scene: Scene, tree: FileTree) -> tuple[int, list[Node]]:
    """How many images there are, and some of them: the same ones for the same backup, others for the next."""
    chosen: list[Node] = []
    chance = random.Random(scene.plan.backup)  # noqa: S311 (no secret)
    count = 0
    for node in tree.chosen():
        if node.type == "file" and node.path.lower().endswith(_IMAGES):
            count += 1
            if len(chosen) < scene.settings.recovery_test.sample:
                chosen.append(node)
            elif (place := chance.randrange(count)) < len(chosen):
                chosen[place] = node
    return count, chosen


def _fault_of_image(folder: int, step: bytes) -> str | None:
    descriptor = os.open(step, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        try:
            with Image.open(file) as image:
                if image.width * image.height > MOST_PIXELS:
                    return f"{image.width}x{image.height} pixels are too many to open it here"
                image.load()
        except Exception as error:  # noqa: BLE001 (a decoder may raise anything at what somebody uploaded)
            return type(error).__name__
    return None
