"""Each private key still opens what was encrypted to it, alone."""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from spoqplus_backup.core.crypto import AgeScheme, Scheme, scheme_for
from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.manifest import Manifest, Part, SchemeName
from spoqplus_backup.core.notice import Notice, notice
from spoqplus_backup.core.process import ProcessError, find_program, output_of
from spoqplus_backup.core.proof.evidence import Evidence
from spoqplus_backup.core.proof.scene import Scene
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.catalog import Catalog, SetRef
from spoqplus_backup.core.repository.opener import open_repository
from spoqplus_backup.core.schemes import gpg_scheme
from spoqplus_backup.core.sealed import unsealed

MOST_SETS = 400  # that are looked through for one that was encrypted to an older key
BLOCK_BYTES = 1 << 20
KEYGEN_SECONDS = 60.0


def check(scene: Scene) -> Sequence[Notice]:
    """Decrypt a part of a set with each configured key in turn.

    Recipients whose private key is not at hand are evidence: nobody says that they all have to be on this machine.

    Raises:
        CheckFailed: a key opens nothing.
    """
    repository = open_repository(scene.settings, scene.plan.repository, scene.connections)
    catalog = Catalog(repository, scene.settings.signing.public_key_files, scene.settings.site)
    cadence, _, set_id = scene.plan.backup.partition("/")
    manifest = catalog.load(SetRef(cadence, set_id))
    faults = Evidence()
    with tempfile.TemporaryDirectory(prefix="keys-", dir=scene.directory) as folder:
        trial = _Trial(repository, Path(folder))
        good = [
            *_age(scene, catalog, manifest, trial, faults),
            *_password(scene, manifest, trial, faults),
            *_gpg(scene, manifest, trial, faults),
        ]
    return faults.judge(good)


class _Trial:
    """Brings the smallest object of a set that one scheme encrypted, and decrypts it in full."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        self.repository = repository
        self._folder = folder

    def run(self, manifest: Manifest, scheme: Scheme) -> None:
        """Decrypt, decompress, compare.

        Raises:
            PermanentError: it does not open, or holds something else.
        """
        found = smallest(manifest, scheme.name)
        assert found is not None  # noqa: S101 (only sets that have one are tried)
        key, part = found
        path = self._folder / key.replace("/", "_")
        if not path.exists():
            self.repository.get(key, path, part.sha256, part.stored_bytes)
        digest = hashlib.sha256()
        with unsealed(path, scheme) as reader:
            while block := reader.read(BLOCK_BYTES):
                digest.update(block)
        if digest.hexdigest() != part.raw_sha256:
            raise IntegrityError(f"{self.repository.url}/{key} does not hold what the manifest says.")


def smallest(manifest: Manifest, scheme: SchemeName) -> tuple[str, Part] | None:
    """Key and description of the smallest object of a set that this scheme encrypted; None without any."""
    found = [
        (f"{manifest.name}/{component.name}/{part.name}", part)
        for component in manifest.components
        if (component.encryption or manifest.encryption).scheme == scheme
        for part in (*component.parts, component.index)
    ]
    return min(found, key=lambda item: item[1].stored_bytes, default=None)


def _age(scene: Scene, catalog: Catalog, manifest: Manifest, trial: _Trial, faults: Evidence) -> Iterator[Notice]:
    if smallest(manifest, "age") is None:
        return
    proved: set[str] = set()
    for file in scene.settings.encryption.identity_files:
        try:
            mine = _recipients_of(file)
        except PermanentError as error:
            faults.add(
                notice("check.keys.unusable", "The key file {file} can't be used: {words}", file=file, words=error)
            )
            continue
        tried = _encrypted_to(catalog, manifest, mine)
        if tried is None:
            faults.add(
                notice(
                    "check.keys.wrong",
                    "The key in {file} ({recipient}) opens no backup in {repository}: none was encrypted to it. Put "
                    "the right key there, or take it out of `encryption.identity_files`.",
                    file=file,
                    recipient=_short(mine[0]),
                    repository=scene.plan.repository,
                )
            )
            continue
        try:
            trial.run(tried, AgeScheme(mine, (file,)))
        except PermanentError as error:
            faults.add(
                notice(
                    "check.keys.fails",
                    "The key in {file} does not open {set}: {words}",
                    file=file,
                    set=tried.name,
                    words=error,
                )
            )
            continue
        proved.update(mine)
        yield notice(
            "check.keys.opens",
            "The key in {file} ({recipient}) alone opens {set}.",
            file=file,
            recipient=_short(mine[0]),
            set=tried.name,
        )
    for recipient in manifest.encryption.recipients:
        if recipient not in proved:
            yield notice(
                "check.keys.absent",
                "The private key of {recipient} is not on this machine: whether it opens {set} was not looked at.",
                recipient=_short(recipient),
                set=manifest.name,
            )


def _recipients_of(file: Path) -> tuple[str, ...]:
    """The public keys of an identity file.

    Raises:
        PermanentError: it can't be read, or holds no identity. What it holds is not repeated.
    """
    try:
        said = output_of([find_program("age-keygen", "age"), "-y", str(file)], stall_seconds=KEYGEN_SECONDS)
    except ProcessError as error:
        raise PermanentError(f"`age-keygen -y {file}` finds no identity in it.") from error
    return tuple(said.decode("ascii", "replace").split())


def _encrypted_to(catalog: Catalog, manifest: Manifest, recipients: Sequence[str]) -> Manifest | None:
    """The set itself, or the newest one that was encrypted to one of these; None without any."""
    if set(recipients) & set(manifest.encryption.recipients):
        return manifest
    for ref in catalog.sets()[:MOST_SETS]:
        with contextlib.suppress(IntegrityError):  # whether a set is sound is not asked here
            other = catalog.load(ref)
            if set(recipients) & set(other.encryption.recipients) and smallest(other, "age") is not None:
                return other
    return None


def _short(recipient: str) -> str:
    return f"{recipient[:12]}..."


def _password(scene: Scene, manifest: Manifest, trial: _Trial, faults: Evidence) -> Iterator[Notice]:
    if smallest(manifest, "openssl") is None:
        return
    try:
        trial.run(manifest, scheme_for(scene.settings, scene.connections, "openssl"))
    except PermanentError as error:
        faults.add(
            notice(
                "check.keys.password_fails", "The password does not open {set}: {words}", set=manifest.name, words=error
            )
        )
        return
    yield notice("check.keys.password", "The password opens {set}.", set=manifest.name)


def _gpg(scene: Scene, manifest: Manifest, trial: _Trial, faults: Evidence) -> Iterator[Notice]:
    scheme = gpg_scheme(scene.settings.environment)
    if scheme is None or smallest(manifest, "gpg") is None:
        return
    if scheme.private_key_file is None:
        yield notice(
            "check.keys.gpg_absent",
            "The private gpg key of {recipient} is not on this machine: whether it opens {set} was not looked at.",
            recipient=scheme.recipient,
            set=manifest.name,
        )
        return
    try:
        trial.run(manifest, scheme)
    except PermanentError as error:
        faults.add(
            notice(
                "check.keys.fails",
                "The key in {file} does not open {set}: {words}",
                file=scheme.private_key_file,
                set=manifest.name,
                words=error,
            )
        )
        return
    yield notice(
        "check.keys.opens",
        "The key in {file} ({recipient}) alone opens {set}.",
        file=scheme.private_key_file,
        recipient=scheme.recipient,
        set=manifest.name,
    )
