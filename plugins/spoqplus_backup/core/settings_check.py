"""What only the machine that runs the work can say of its configuration: paths, keys, connections."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.crypto import key_fingerprint, signs_for
from spoqplus_backup.core.dr.terraform import check_directory, find_binary
from spoqplus_backup.core.errors import PermanentError, SettingsError
from spoqplus_backup.core.files.environment import collect
from spoqplus_backup.core.files.guard import check_source
from spoqplus_backup.core.files.places import find_places, paths_field
from spoqplus_backup.core.process import ProcessError, find_program, output_of
from spoqplus_backup.core.run import ENVIRONMENT, FACE_IMAGES
from spoqplus_backup.core.schemes import gpg_scheme
from spoqplus_backup.core.settings import FilesSelection, Settings
from spoqplus_backup.core.settings_dr import DrSettings

OTHERS = 0o077  # permissions of group and others


Check = tuple[str, Callable[[], object]]


def problems(
    settings: Settings,
    connections: Connections,
    *,
    restoring: bool,
    components: Sequence[str] | None = None,
    replicas: bool = True,
) -> Iterator[str]:
    """One sentence for each thing that is wrong: file, field, remedy."""
    yield from _sentences(settings, _checks(settings, connections, restoring, components, replicas))


def findings(settings: Settings, connections: Connections, *, restoring: bool) -> Iterator[tuple[str, str | None]]:
    """All that is checked, as `problems`, beside the set and for a failover: the field, and what is wrong with it."""
    checks = _checks(settings, connections, restoring, None, True)
    if not restoring:
        checks += _beside_checks(settings, connections)
        checks += _dr_checks(settings, settings.dr, connections) if settings.dr is not None else ()
    for name, check in checks:
        yield name, _problem(check)


def _checks(
    settings: Settings,
    connections: Connections,
    restoring: bool,
    components: Sequence[str] | None,
    replicas: bool,
) -> list[Check]:
    more = _restore_checks(settings, connections) if restoring else _file_checks(settings, components)
    return [
        ("database.client_directory", partial(_check_folder, settings.database.client_directory)),
        ("staging.directory", partial(_check_writable, settings.staging.directory)),
        *_key_checks(settings),
        *_connection_checks(settings, connections, replicas=replicas),
        *more,
    ]


def problems_beside(settings: Settings, connections: Connections) -> Iterator[str]:
    """As `problems`, of what works beside the set and does not hold it up: the mirror and the git copy."""
    yield from _sentences(settings, list(_beside_checks(settings, connections)))


def problems_dr(settings: Settings, connections: Connections) -> Iterator[str]:
    """As `problems`, of what a failover needs; nothing when none is configured. AWS is not asked."""
    if settings.dr is not None:
        yield from _sentences(settings, list(_dr_checks(settings, settings.dr, connections)))


def _dr_checks(settings: Settings, dr: DrSettings, connections: Connections) -> Iterator[Check]:
    yield "dr.connection", partial(connections.aws_client, dr.connection, "rds", dr.region)
    yield "dr.database.connection", partial(connections.database, dr.database.connection)
    if dr.repository is not None:
        yield "dr.repository", partial(settings.repository, dr.repository)
    if dr.fence is not None:
        for number, command in enumerate(dr.fence.commands):
            yield f"dr.fence.commands[{number}]", partial(find_program, command[0], "the package that has it")
        if group := dr.fence.security_group:
            client = partial(connections.aws_client, group.connection, "ec2", group.region)
            yield "dr.fence.security_group.connection", client
    if dr.terraform is not None:
        yield "dr.terraform.binary", partial(find_binary, dr.terraform.binary)
        yield "dr.terraform.directory", partial(check_directory, dr.terraform.directory)
        for name, connection in dr.terraform.secrets.items():
            yield f"dr.terraform.secrets.{name}", partial(connections.secret, connection)
    if dr.dns is not None:
        yield "dr.dns.template", partial(dr.dns.template.stat)
    for number, folder in enumerate(dr.health.checks):
        yield f"dr.health.checks[{number}]", partial(folder.stat)


def _sentences(settings: Settings, checks: Sequence[Check]) -> Iterator[str]:
    said = set()  # a key that can't be read concerns more than one check
    for name, check in checks:
        problem = _problem(check)
        if problem is not None and problem not in said:
            yield f"{settings.source}: `{name}`: {problem}"
        said.add(problem)


def _problem(check: Callable[[], object]) -> str | None:
    """What is wrong, in a sentence; None when nothing is."""
    try:
        check()
    except PermanentError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename} can't be read ({error.strerror}): correct the path."
    return None


def _beside_checks(settings: Settings, connections: Connections) -> Iterator[Check]:
    if settings.mirror is not None:
        yield "mirror", partial(find_program, "rsync", "rsync")
        yield "mirror.source", partial(check_source, settings.mirror.source, settings.mirror, "mirror")
        yield "mirror.target", partial(_check_folder, settings.mirror.target.parent)
    if settings.config_git is not None:
        chosen = settings.config_git
        yield "config_git", partial(find_program, "git", "git")
        if chosen.connection is not None:
            yield "config_git.connection", partial(connections.login, chosen.connection)
        if chosen.ssh_key_file is not None:
            yield "config_git.ssh_key_file", partial(_refuse_open, chosen.ssh_key_file)
        if chosen.known_hosts_file is not None:
            yield "config_git.known_hosts_file", partial(chosen.known_hosts_file.stat)


def _key_checks(settings: Settings) -> Iterator[Check]:
    signing = settings.signing
    for number, file in enumerate(signing.public_key_files):
        yield f"signing.public_key_files[{number}]", partial(key_fingerprint, file)
    if signing.private_key_file is not None:
        yield "signing.private_key_file", partial(_check_signing, signing.private_key_file, signing.public_key_files)


def _connection_checks(settings: Settings, connections: Connections, *, replicas: bool) -> Iterator[Check]:
    yield "database.connection", partial(connections.database, settings.database.connection)
    for number, repository in enumerate(settings.repositories):
        if repository.connection is not None and (replicas or not repository.is_replica):
            yield f"repositories[{number}].connection", partial(connections.s3_client, repository.connection)
        if repository.delete_connection is not None:
            deleting = partial(connections.s3_client, repository.delete_connection)
            yield f"repositories[{number}].delete_connection", deleting
    if settings.encryption.scheme == "openssl":
        password = settings.encryption.password_connection
        yield "encryption.password_connection", partial(connections.secret, password)
    if settings.slack.connection is not None:
        yield "slack.connection", partial(_check_slack, connections, settings.slack.connection, settings.slack.channel)


def _restore_checks(settings: Settings, connections: Connections) -> Iterator[Check]:
    yield "restore.test_connection", partial(connections.database, settings.restore.test_connection)
    if settings.environment is not None and settings.environment.gpg_private_key_file is not None:
        yield "environment.gpg_private_key_file", partial(_refuse_open, settings.environment.gpg_private_key_file)
    for number, file in enumerate(settings.encryption.identity_files):
        yield f"encryption.identity_files[{number}]", partial(_check_identity, file)


def _file_checks(settings: Settings, components: Sequence[str] | None) -> Iterator[Check]:
    for selection in settings.files:
        if components is None or selection.name in components:
            yield paths_field(settings, selection), partial(_check_paths, settings, selection)
    if settings.faces is not None and (components is None or FACE_IMAGES in components):
        yield "faces.directory", partial(check_source, settings.faces.directory, settings.faces, "faces")
    if settings.environment is not None and (components is None or ENVIRONMENT in components):
        yield "environment", partial(collect, settings)
        if (scheme := gpg_scheme(settings.environment)) is not None:
            yield "environment.gpg_public_key_file", scheme.check_recipient


def _check_slack(connections: Connections, connection: str, channel: str | None) -> None:
    if connections.is_slack_bot(connection):
        if channel is None:
            raise SettingsError(f"The connection {connection} is a bot's: name the channel in `slack.channel`.")
        return
    connections.webhook(connection)
    if channel is not None:
        raise SettingsError(
            f"The connection {connection} is a webhook, which has a channel of its own: set `slack.channel` to null, "
            "or make it a connection of the type Slack API with a bot's token."
        )


def _check_paths(settings: Settings, selection: FilesSelection) -> None:
    repositories = [Path(urlsplit(item.root).path) for item in settings.repositories if item.is_local]
    own = (settings.staging.directory, *repositories)
    for path in find_places(selection).paths:
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            raise SettingsError(f"{path} can't be read: let the worker's user read it.")
        inside = next((folder for folder in own if folder.resolve().is_relative_to(path.resolve())), None)
        if inside is not None:
            raise SettingsError(f"{path} holds the backups' own folder {inside}: keep one outside of the other.")


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
