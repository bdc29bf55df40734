"""Where the reports of recovery tests are kept, and what can be believed of them later.

    recovery_tests/<id>/report.html       for people
                        report.json.sig   Ed25519, as of manifests
                        report.json       the `Proof`, written last: a report without it does not exist

The page is no evidence of its own: the signed JSON has its SHA-256.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from spoqplus_backup.core.crypto import sign, verify_signature
from spoqplus_backup.core.errors import IntegrityError, PermanentError
from spoqplus_backup.core.proof.model import FOLDER, Proof
from spoqplus_backup.core.repository.base import Repository, wrong_checksum
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.stages import STORE_THREADS, in_parallel

log = logging.getLogger(__name__)

REPORT, SIGNATURE, PAGE = "report.json", "report.json.sig", "report.html"
HISTORY = 24  # reports that a list or a chart looks back at


def store_proof(settings: Settings, repositories: Sequence[Repository], proof: Proof, page: str) -> Proof:
    """Write a report to each repository; returns it as it is stored. Again with the same id replaces it.

    Args:
        settings: the site; its key signs.
        repositories: the primaries.
        proof: what was found.
        page: its HTML.

    Raises:
        PermanentError: there is no key to sign with.
        BackupError: a repository can't be written to; those before it have the report.
    """
    if settings.signing.private_key_file is None:
        raise PermanentError(
            f"{settings.source}: signing.private_key_file is not set: make one with `spoqplus-backup keys`."
        )
    html = page.encode()
    stored = proof.model_copy(update={"page_sha256": hashlib.sha256(html).hexdigest()})
    content = stored.model_dump_json(indent=2).encode() + b"\n"
    signature = sign(content, settings.signing.private_key_file)
    for repository in repositories:
        for name, value in ((PAGE, html), (SIGNATURE, signature), (REPORT, content)):
            repository.put_bytes(f"{FOLDER}/{proof.id}/{name}", value)
        log.info("The report is %s/%s/%s/%s", repository.url, FOLDER, proof.id, PAGE)
    return stored


def past_proofs(
    repository: Repository, public_key_files: Sequence[Path], limit: int = HISTORY, site: str | None = None
) -> list[Proof]:
    """The newest reports that can be believed, newest first: one listing, then two small objects for each.

    What is half-written, damaged, unsigned or of another site (any counts when None) is left out, with a warning.

    Raises:
        BackupError: the repository can't be reached.
        PermanentError: a key can't be read.
    """

    def one(test_id: str) -> Proof | None:
        try:
            return proof_of(repository, public_key_files, test_id, site)
        except IntegrityError as error:
            log.warning("A report of a recovery test does not count: %s", error)
            return None

    found: list[Proof] = []
    ids = iter(sorted((marked.folder for marked in repository.list_marked(f"{FOLDER}/", REPORT)), reverse=True))
    while len(found) < limit and (batch := list(islice(ids, limit - len(found)))):
        found += [proof for proof in in_parallel(one, batch, STORE_THREADS) if proof is not None]
    return found


def last_proof(repository: Repository, public_key_files: Sequence[Path], site: str | None = None) -> Proof | None:
    """The newest report that can be believed; see `past_proofs`."""
    return next(iter(past_proofs(repository, public_key_files, 1, site)), None)


def proved_sets(proofs: Iterable[Proof]) -> dict[str, datetime]:
    """When each set was last proved, by its name: a test that passed had restored it."""
    found: dict[str, datetime] = {}
    for name, moment in _passed(proofs):
        found[name] = max(moment, found.get(name, moment))
    return found


def _passed(proofs: Iterable[Proof]) -> Iterator[tuple[str, datetime]]:
    return ((item.backup, item.finished_at) for item in proofs if item.verdict == "passed" and item.backup is not None)


def page_of(repository: Repository, proof: Proof) -> str:
    """The HTML of a report that was read.

    Raises:
        IntegrityError: it is missing, or not the one that was signed for.
    """
    key = f"{FOLDER}/{proof.id}/{PAGE}"
    html = repository.read(key)
    if (digest := hashlib.sha256(html).hexdigest()) != proof.page_sha256:
        raise wrong_checksum(f"{repository.url}/{key}", digest, str(proof.page_sha256))
    return html.decode()


def proof_of(repository: Repository, public_key_files: Sequence[Path], test_id: str, site: str | None) -> Proof:
    """One report.

    Raises:
        IntegrityError: it is not there, damaged, unsigned, or of another site.
        BackupError: the repository can't be reached.
    """
    folder = f"{FOLDER}/{test_id}"
    where = f"{repository.url}/{folder}/{REPORT}"
    content = repository.read(f"{folder}/{REPORT}")
    verify_signature(content, repository.read(f"{folder}/{SIGNATURE}"), public_key_files, where)
    try:
        proof = Proof.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise IntegrityError(f"{where} can't be read: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    if proof.id != test_id:
        raise IntegrityError(f"{where} is the report of {proof.id}: somebody moved it.")
    if site is not None and proof.site != site:
        raise IntegrityError(f"{where} is of the site {proof.site}, not of {site}.")
    return proof
