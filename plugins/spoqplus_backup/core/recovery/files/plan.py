"""What a restore of files will do: which archives in which order, how much, to where, and what it replaces."""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.errors import IntegrityError, PermanentError, SettingsError
from spoqplus_backup.core.manifest import Component, Manifest, Model, Part
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.recovery.files.dumpdir import parse_dumpdir
from spoqplus_backup.core.recovery.files.index import Entry, read_entries
from spoqplus_backup.core.recovery.files.names import Patterns, shown
from spoqplus_backup.core.recovery.files.places import check_apart, check_within, place_of
from spoqplus_backup.core.recovery.files.stream import RawStream, Run, merged, part_starts, parts_of
from spoqplus_backup.core.recovery.files.tar_reader import Member, TarReader
from spoqplus_backup.core.recovery.files.tree import FileTree
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import Catalog, SetRef
from spoqplus_backup.core.repository.opener import open_repositories, open_repository
from spoqplus_backup.core.run import ENVIRONMENT, FACE_IMAGES, component_names
from spoqplus_backup.core.schemes import stored_scheme
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

PRIORITY = (FACE_IMAGES, "uploads", "config", ENVIRONMENT, "logs")  # the strategy's, behind the database
MOST_SETS = 32  # that stand on each other
MOST_NAMED = 10
# Measured on two cores: tar writes many small files slower than one big one.
STREAM_BYTES_PER_SECOND = 150e6
FILES_PER_SECOND = 5000.0
TREE = "tree.sqlite"


class PlannedArchive(Model):
    """One of the sets that a component is made of, the full one first. `parts` are those that are needed of it."""

    set: str
    repository: str
    manifest_sha256: str
    level: int
    parts: tuple[str, ...]
    fetch_bytes: int


class PlannedFiles(Model):
    """A component of files that will be restored. Sizes in bytes.

    `tops` are what was archived, relative to `root`; what of them is there now is in `replaces`. `paths` are patterns;
    without any, everything is restored and takes the place of all that is there. `deleted` are names that a pattern
    means and an earlier archive held, but which were deleted before the last one. `linked` are tops that are links
    themselves. `left_out` are links that would lead out of the root.
    """

    name: str
    content: str
    root: str
    tops: tuple[str, ...]
    linked: tuple[str, ...] = ()
    archives: tuple[PlannedArchive, ...]
    paths: tuple[str, ...] = ()
    files: int
    bytes: int
    stream_bytes: int
    fetch_bytes: int
    replaces: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    deleted_count: int = 0
    left_out: tuple[str, ...] = ()
    seconds: float
    warnings: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Archive:
    """A set of the chain: its component as its proved manifest has it, and where it is read from."""

    manifest: Manifest
    component: Component
    repository: Repository
    digest: str

    @property
    def where(self) -> str:
        """Its name in errors."""
        return f"The archive {self.component.name} of {self.manifest.name}"


@dataclass(frozen=True)
class Wish:
    """What of files is asked for. `root` is where names begin; `outside_links` what becomes of links that leave it."""

    root: Path
    paths: tuple[str, ...] = ()
    outside_links: Literal["refuse", "skip"] = "refuse"


def scheme_of(settings: Settings, connections: Connections, archive: "Archive") -> Scheme:
    """What opens the index and the parts of an archive."""
    return stored_scheme(settings, connections, archive.manifest, archive.component)


def in_order(names: Sequence[str]) -> list[str]:
    """Names of components in the order of their priority; those that the strategy does not know before the logs."""
    return sorted(names, key=lambda name: PRIORITY.index(name) if name in PRIORITY else PRIORITY.index("logs") - 0.5)


def chain_of(
    settings: Settings, connections: Connections, repository: Repository, manifest: Manifest, name: str
) -> list[Archive]:
    """The archives that a component of a set stands on, the full one first and its own last.

    Raises:
        PermanentError: one of them is nowhere.
        IntegrityError: one can't be trusted.
    """
    found: list[Archive] = []
    at, where = manifest, repository
    while True:
        component = at.component(name)
        ref = SetRef(at.cadence, at.id)
        catalog = Catalog(where, settings.signing.public_key_files, settings.site)
        found.append(Archive(at, component, where, catalog.manifest_sha256(ref)))
        if not component.level:
            return [*reversed(found)]
        base = component.base
        if base is None or base in {archive.manifest.name for archive in found} or len(found) > MOST_SETS:
            raise IntegrityError(f"{found[-1].where} is incremental, but names no archive that it stands on.")
        where, at = _base(settings, connections, repository, base, name)


def _base(
    settings: Settings, connections: Connections, first: Repository, base: str, name: str
) -> tuple[Repository, Manifest]:
    others = [one for one in open_repositories(settings, connections) if one.name != first.name]
    cadence, _, set_id = base.partition("/")
    for repository in (first, *others):
        if repository.stat(f"{base}/manifest.json") is not None:
            catalog = Catalog(repository, settings.signing.public_key_files, settings.site)
            manifest = catalog.load(SetRef(cadence, set_id))
            manifest.component(name)
            return repository, manifest
    raise PermanentError(f"The set {base}, which {name} stands on, is in no repository: restore another backup.")


def plan_files(
    settings: Settings,
    connections: Connections,
    repository: Repository,
    manifest: Manifest,
    name: str,
    wish: Wish,
    directory: Path,
) -> PlannedFiles:
    """Look at a component of files and the place that it goes to.

    Its index is fetched and checked in full; of incremental archives also the parts that hold the folders.

    Args:
        settings: the site.
        connections: its credentials.
        repository: where the set was found.
        manifest: the set.
        name: the component.
        wish: what of it, to where.
        directory: the restore's folder on this machine.

    Raises:
        IntegrityError: something in it would be written outside of the root.
        PermanentError: the request can't be met.
    """
    archives = chain_of(settings, connections, repository, manifest, name)
    work = directory / name
    patterns = Patterns(wish.paths)
    with FileTree(work / TREE, create=True) as tree:
        grow(tree, settings, connections, archives, work)
        lacking = tree.choose(patterns) if wish.paths else []
        left_out = _links_out(tree, archives[-1], wish)
        gone = [shown(path) for path in tree.gone(patterns)] if wish.paths else []
        tops = [top for top in _tops(tree, archives[-1]) if top not in left_out]
        if wish.paths:
            _check_found(archives[-1], tree, patterns, lacking, gone)
        amount = tree.amount()
        planned = [_planned_archive(tree, archive, level) for level, archive in enumerate(archives)]
        objects = tree.object_bytes()
        places = [place_of(wish.root, top) for top in tops]
        fetch = sum(item.fetch_bytes for item in planned) + objects
        return PlannedFiles(
            name=name,
            content=archives[-1].component.content,
            root=str(wish.root),
            tops=tuple(tops),
            linked=tuple(
                top for top in tops if (node := tree.node(top.encode())) is not None and node.type == "symlink"
            ),
            archives=tuple(planned),
            paths=wish.paths,
            files=amount.files,
            bytes=amount.bytes,
            stream_bytes=amount.stream_bytes if archives[-1].component.content == "tar" else amount.bytes,
            fetch_bytes=fetch,
            replaces=tuple(str(place.target) for place in places if os.path.lexists(place.target)),
            deleted=tuple(gone[:MOST_NAMED]),
            deleted_count=len(gone),
            left_out=tuple(left_out),
            seconds=amount.bytes / STREAM_BYTES_PER_SECOND + amount.files / FILES_PER_SECOND,
            warnings=(
                *_warnings(settings, name, wish, tops, left_out, amount.bytes),
                *_privileged(settings, name, tree),
            ),
        )


def index_path(work: Path, archive: Archive) -> Path:
    """Where the index of an archive lies when it was fetched; `work` is the component's folder of the restore."""
    return archive_folder(work, archive.manifest.name) / archive.component.index.name


def archive_folder(work: Path, name: str) -> Path:
    """Where what was fetched of a set lies."""
    return work / name.replace("/", "_")


def grow(tree: FileTree, settings: Settings, connections: Connections, archives: Sequence[Archive], work: Path) -> None:
    """Work out what the archives give, one on top of the other; what is fetched for it lies in `work`.

    Raises:
        IntegrityError: something in them would be written outside of the root.
    """
    lacking = 0
    with tree.making():
        for level, archive in enumerate(archives):
            with tree.on_top() if level else contextlib.nullcontext():
                lacking += _grow(tree, settings, connections, archive, level, work)
    if lacking:
        log.warning("%d files were not archived when they changed last: they can't be restored", lacking)


def _grow(
    tree: FileTree, settings: Settings, connections: Connections, archive: Archive, level: int, work: Path
) -> int:
    """Put what an archive holds onto the tree; returns how many files it says to be in an earlier one that are not."""
    lacking = 0
    scheme = scheme_of(settings, connections, archive)
    component, folder = archive.component, archive_folder(work, archive.manifest.name)
    starts = part_starts(component)
    prefix = f"{archive.manifest.name}/{component.name}/"
    path = index_path(work, archive)
    archive.repository.get(prefix + component.index.name, path, component.index.sha256, component.index.stored_bytes)
    folders: Iterator[Member] = iter(())
    if level:
        for part in _leading_parts(archive, path, scheme):
            archive.repository.get(prefix + part.name, folder / part.name, part.sha256, part.stored_bytes)
        folders = _folders(archive, RawStream(component, folder, scheme))
    for number, entry in enumerate(read_entries(path, component.index, scheme)):
        start = _start(archive, starts, entry)
        if level and entry.type == "directory":
            member = next(folders, None)
            if member is None or member.name != entry.path or member.offset != start:
                raise IntegrityError(
                    f"{archive.where} does not hold the folder '{shown(entry.path)}' where its index says: nothing is "
                    "restored."
                )
            if member.dumpdir is not None:
                lacking += tree.keep(entry.path, parse_dumpdir(archive.where, entry.path, member.dumpdir))
        tree.add(archive.where, level, number, entry, start)
    return lacking


def _start(archive: Archive, starts: Sequence[int], entry: Entry) -> int:
    if archive.component.content != "tar":
        return 0
    if not 1 <= entry.part < len(starts) or starts[entry.part - 1] + entry.offset + entry.length > starts[-1]:
        raise IntegrityError(f"{archive.where} is shorter than its index says for '{shown(entry.path)}'.")
    return starts[entry.part - 1] + entry.offset


def _leading_parts(archive: Archive, path: Path, scheme: Scheme) -> Sequence[Part]:
    """The parts that hold the folders, which GNU tar writes before everything else."""
    starts = part_starts(archive.component)
    runs = (
        Run(_start(archive, starts, entry), entry.length)
        for entry in read_entries(path, archive.component.index, scheme)
        if entry.type == "directory"
    )
    return parts_of(archive.component, merged(runs))


def _folders(archive: Archive, stream: RawStream) -> Iterator[Member]:
    """The headers of the folders, which GNU tar writes before everything else."""
    reader = TarReader(stream.read(), archive.where)
    while (member := reader.next_member()) is not None:
        if member.type == "directory":
            yield member


def _links_out(tree: FileTree, archive: Archive, wish: Wish) -> list[str]:
    """Links that lead out of the root; below the machine's own root none does.

    Raises:
        IntegrityError: there is one, and it is not to be left out.
    """
    if wish.root == Path("/"):
        return []
    found = list(tree.leading_out())
    tops = set(tree.tops())  # a link that the configuration names leads to what was archived with it
    hostile = [node for node in found if node.path not in tops]
    if hostile and wish.outside_links == "refuse":
        names = ", ".join(f"{shown(node.path)} -> {shown(node.link or b'')}" for node in hostile[:MOST_NAMED])
        more = f" and {len(hostile) - MOST_NAMED} more" if len(hostile) > MOST_NAMED else ""
        raise IntegrityError(
            f"{archive.where} holds links that lead out of {wish.root}: {names}{more}. Nothing is restored: set "
            "`restore.outside_links` to skip to leave them out, or restore to the original place."
        )
    for node in found:
        tree.leave_out(node.path)
    return [shown(node.path) for node in found]


def _tops(tree: FileTree, archive: Archive) -> list[str]:
    try:
        return [top.decode() for top in tree.tops()]
    except UnicodeDecodeError as error:
        raise PermanentError(f"{archive.where} is of a place whose name is no UTF-8: unpack it by hand.") from error


def _check_found(
    archive: Archive, tree: FileTree, patterns: Patterns, lacking: Sequence[str], gone: Sequence[str]
) -> None:
    """Refuse patterns of which there is nothing, and say so when it was deleted before the backup.

    Raises:
        PermanentError: see above.
    """
    if not lacking:
        return
    deleted = {pattern for pattern in lacking if any(True for _ in tree.gone(Patterns([pattern])))}
    words = [
        f"{pattern} (deleted before this backup was made: choose an earlier one)" if pattern in deleted else pattern
        for pattern in lacking
    ]
    raise PermanentError(f"{archive.where} has nothing named {', '.join(words)}: correct the parameter paths.")


def _planned_archive(tree: FileTree, archive: Archive, level: int) -> PlannedArchive:
    component = archive.component
    if component.content != "tar":
        parts = list(component.parts)
    else:
        parts = parts_of(component, merged(Run(node.start, node.length) for node in tree.wanted(level)))
    return PlannedArchive(
        set=archive.manifest.name,
        repository=archive.repository.name,
        manifest_sha256=archive.digest,
        level=level,
        parts=tuple(part.name for part in parts),
        fetch_bytes=sum(part.stored_bytes for part in parts),
    )


def _warnings(
    settings: Settings, name: str, wish: Wish, tops: Sequence[str], left_out: Sequence[str], size: int
) -> Iterator[Notice]:
    if left_out:
        sentence = "{count} links of {name} lead out of {root} and are left out: {links}."
        links = ", ".join(left_out[:5])
        yield notice("plan.links_left_out", sentence, count=len(left_out), name=name, root=wish.root, links=links)
    known = [*configured_tops(settings, name)]
    known += [str(Path("/", top).resolve()).lstrip("/") for top in known]
    if known and (strange := [top for top in tops if top not in known]):
        sentence = "{name} was archived from another place than the configuration names now: {places}."
        yield notice("plan.another_place", sentence, name=name, places=", ".join(f"/{top}" for top in strange))
    target = wish.root / tops[0] if tops else wish.root
    there = next(path for path in (target.parent, *target.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < size:
        yield notice(
            "plan.files_space",
            "{name} takes {size}, and {place} has {free} free. What is replaced is kept until the restore is verified: "
            "make room, or restore to another root.",
            name=name,
            size=human_bytes(size),
            place=there,
            free=human_bytes(free),
        )
    if os.geteuid() != 0:
        sentence = "The worker is not root: the files of {name} will be its own, whoever they belonged to."
        yield notice("plan.not_root", sentence, name=name)


def _privileged(settings: Settings, name: str, tree: FileTree) -> Iterator[Notice]:
    """Files that run with another's rights, unless `set_ownership` gives them other modes: not what a site uploads."""
    if settings.restore.ownership.get(name) is None and (found := tree.privileged()):
        names = ", ".join(shown(path) for path in found[:MOST_NAMED])
        sentence = (
            "{count} files of {name} come back with the rights of their owner or group (setuid, setgid): {names}."
        )
        yield notice("plan.setuid", sentence, count=len(found), name=name, names=names)


def configured_tops(settings: Settings, name: str) -> tuple[str, ...]:
    """Where a component's files are in production, relative to `/`; empty when the configuration does not know it."""
    if name == FACE_IMAGES:
        return (str(settings.faces.directory).strip("/"),) if settings.faces is not None else ()
    for selection in settings.files:
        if selection.name == name:
            return tuple(str(path).strip("/") for path in selection.paths)
    return ()


def read_archives(settings: Settings, connections: Connections, planned: PlannedFiles) -> list[Archive]:
    """The archives of a plan, proved again, the full one first.

    Raises:
        IntegrityError: a manifest is not the one that was planned with.
    """
    found = []
    for item in planned.archives:
        repository = open_repository(settings, item.repository, connections)
        catalog = Catalog(repository, settings.signing.public_key_files, settings.site)
        cadence, _, set_id = item.set.partition("/")
        ref = SetRef(cadence, set_id)
        manifest = catalog.load(ref)
        if catalog.manifest_sha256(ref) != item.manifest_sha256:
            raise IntegrityError(
                f"The manifest of {item.set} is not the one that was planned with: plan the restore again."
            )
        found.append(Archive(manifest, manifest.component(planned.name), repository, item.manifest_sha256))
    return found


def check_places(settings: Settings, planned: PlannedFiles, environment: str) -> None:
    """See that nothing of production is touched from the environment `test`, and that no place leads out of its root.

    Raises:
        PermanentError: it would be.
    """
    production = [Path("/", top) for top in planned.tops]
    production += [Path("/", top) for name in component_names(settings) for top in configured_tops(settings, name)]
    for top in planned.tops:
        place = place_of(Path(planned.root), top)
        check_within(place, is_link=top in planned.linked)
        if environment == "test":
            check_apart(place, production)


def root_for(settings: Settings, environment: str, target_root: str | None, content: str = "tar") -> Path:
    """Where names begin. What has no place of its own, as the environment's variables, never goes below `/`.

    Raises:
        SettingsError: the root that was asked for is not absolute.
    """
    if target_root is not None:
        root = Path(target_root)
        if not root.is_absolute() or ".." in root.parts:
            raise SettingsError(f"The parameter target_root is {target_root}: write an absolute path without `..`.")
        return root
    if environment == "production" and content != ENVIRONMENT:
        return Path("/")
    return settings.restore.files_root or settings.staging.directory / "restore" / settings.site / "files"
