"""What only the machine that runs the work can say of its configuration: paths, keys, connections."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.crypto import key_fingerprint, signs_for
from spoqplus_backup.core.errors import PermanentError, SettingsError
from spoqplus_backup.core.process import ProcessError, find_program, output_of
from spoqplus_backup.core.settings import Settings

OTHERS = 0o077  # permissions of group and others


Check = tuple[str, Callable[[], object]]


def problems(settings: Settings, connections: Connections, *, restoring: bool) -> Iterator[str]:
    """One sentence for each thing that is wrong: file, field, remedy."""
    checks = [
        ("database.client_directory", partial(_check_folder, settings.database.client_directory)),
        ("staging.directory", partial(_check_writable, settings.staging.directory)),
        *_key_checks(settings),
        *_connection_checks(settings, connections),
        *(_restore_checks(settings, connections) if restoring else ()),
    ]
    said = set()  # a key that can't be read concerns more than one check
    for name, check in checks:
        try:
            check()
        except PermanentError as error:
            if str(error) not in said:
                yield f"{settings.source}: `{name}`: {error}"
            said.add(str(error))
        except OSError as error:
            yield f"{settings.source}: `{name}`: {error.filename} can't be read ({error.strerror}): correct the path."


def _key_checks(settings: Settings) -> Iterator[Check]:
    signing = settings.signing
    for number, file in enumerate(signing.public_key_files):
        yield f"signing.public_key_files[{number}]", partial(key_fingerprint, file)
    if signing.private_key_file is not None:
        yield "signing.private_key_file", partial(_check_signing, signing.private_key_file, signing.public_key_files)


def _connection_checks(settings: Settings, connections: Connections) -> Iterator[Check]:
    yield "database.connection", partial(connections.database, settings.database.connection)
    for number, repository in enumerate(settings.repositories):
        if repository.connection is not None:
            yield f"repositories[{number}].connection", partial(connections.s3_client, repository.connection)
    if settings.encryption.scheme == "openssl":
        password = settings.encryption.password_connection
        yield "encryption.password_connection", partial(connections.secret, password)
    if settings.slack.connection is not None:
        yield "slack.connection", partial(connections.webhook, settings.slack.connection)


def _restore_checks(settings: Settings, connections: Connections) -> Iterator[Check]:
    yield "restore.test_connection", partial(connections.database, settings.restore.test_connection)
    for number, file in enumerate(settings.encryption.identity_files):
        yield f"encryption.identity_files[{number}]", partial(_check_identity, file)


def _check_folder(path: Path | None) -> None:
    if path is not None and not (path.is_dir() and os.access(path, os.R_OK | os.X_OK)):
        raise SettingsError(f"The folder {path} can't be read: correct the path or its permissions.")


def _check_writable(path: Path) -> None:
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        raise SettingsError(
            f"The folder {path} can't be made or written to: correct the path or the permissions of {there}."
        )


def _check_signing(private: Path, public: tuple[Path, ...]) -> None:
    if not signs_for(private, public):
        raise SettingsError(
            f"No key of `signing.public_key_files` belongs to {private}: add its public half, or nothing that is "
            "published could be restored."
        )
    _refuse_open(private)


def _refuse_open(path: Path) -> None:
    if path.stat().st_mode & OTHERS:
        raise SettingsError(f"Others than its owner may read the private key {path}: chmod 600 {path}.")


def _check_identity(path: Path) -> None:
    path.open("rb").close()
    try:
        output_of([find_program("age-keygen", "age"), "-y", str(path)], stall_seconds=20)
    except ProcessError as error:
        raise SettingsError(f"{path} is no identity file of age: make one with `age-keygen -o {path}`.") from error
    _refuse_open(path)
