"""Lists what a component of files holds, with everything that it stands on."""

import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.manifest import Manifest
from spoqplus_backup.core.recovery.files.names import Patterns, shown
from spoqplus_backup.core.recovery.files.plan import TREE, chain_of, grow
from spoqplus_backup.core.recovery.files.tree import FileTree, Node
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.settings import Settings

_LETTERS = {"file": stat.S_IFREG, "hardlink": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK}


@dataclass(frozen=True)
class Listed:
    """A name, and which set its content is in; without a node it was deleted before the last set was made."""

    path: bytes
    node: Node | None = None
    set: str | None = None

    @property
    def deleted(self) -> bool:
        """Whether only an earlier archive has it."""
        return self.node is None


def files_of(
    settings: Settings,
    connections: Connections,
    repository: Repository,
    manifest: Manifest,
    component: str,
    patterns: Sequence[str] = (),
) -> Iterator[Listed]:
    """Everything that a restore of a component would give, of what the patterns mean; then what was deleted.

    Raises:
        WrongKeyError: the key at hand does not open the index.
        IntegrityError: it is not what the manifest says.
    """
    wanted = Patterns(patterns)
    archives = chain_of(settings, connections, repository, manifest, component)
    with tempfile.TemporaryDirectory(prefix="spoqplus-") as folder:  # for nobody else to look into
        work = Path(folder)
        with FileTree(work / TREE, create=True) as tree:
            grow(tree, settings, connections, archives, work)
            if patterns:
                tree.choose(wanted)
            for node in tree.chosen():
                yield Listed(node.path, node, archives[node.level].manifest.name)
            for path in tree.gone(wanted):
                yield Listed(path)


def file_line(item: Listed, zone: ZoneInfo) -> str:
    """As `ls -l` has it, with the set that holds the content."""
    node = item.node
    if node is None:
        return f"{'deleted':<10} {'':<17} {'':>15}  {'':<16}  {shown(item.path)}"
    mode = stat.filemode(_LETTERS.get(node.type, stat.S_IFIFO) | node.mode)
    owner = f"{node.user or node.uid} {node.group or node.gid}"
    time = datetime.fromtimestamp(node.mtime, timezone.utc).astimezone(zone)
    link = f" -> {shown(node.link)}" if node.link is not None else ""
    return f"{mode} {owner:<17} {node.size:>15,}  {time:%Y-%m-%d %H:%M}  {shown(item.path)}{link}  ({item.set})"
