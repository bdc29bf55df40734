"""What is looked at after a deletion: that each repository still has what it must have."""

from collections.abc import Mapping

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.repository.catalog import Catalog, SetRef
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.settings import Settings


def check_newest(settings: Settings, connections: Connections, newest: Mapping[str, str]) -> list[str]:
    """See each repository's newest backup: its signature, and that all objects are there whole; a sentence a problem.

    Args:
        settings: the site.
        connections: where its credentials are.
        newest: the name of the newest good backup when the run was planned, by repository.

    Raises:
        BackupError: a repository can't be reached.
    """
    problems = []
    for name, backup in newest.items():
        repository = open_repository(settings, name, connections)
        cadence, _, set_id = backup.partition("/")
        try:
            manifest = Catalog(repository, settings.signing.public_key_files, settings.site).load(
                SetRef(cadence, set_id)
            )
        except IntegrityError as error:
            problems.append(str(error))
            continue
        there = dict(repository.sizes(f"{backup}/"))
        gone = [key for key, part in manifest.objects().items() if there.get(f"{backup}/{key}") != part.stored_bytes]
        if gone:
            problems.append(f"{repository.url}/{backup} lacks {gone[0]}, whole, and {len(gone) - 1} more objects.")
    return problems
