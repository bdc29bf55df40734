"""What each retention run deleted, kept in the repository that it deleted from.

    reports/retention/<id>.json  .json.sig      signed as manifests are; the id is the local time of the run's plan

Nothing removes them: who asks in a year why a set is gone finds the answer.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from spoqplus_backup.core.crypto import sign, verify_signature
from spoqplus_backup.core.errors import BackupError, IntegrityError
from spoqplus_backup.core.manifest import Model, SafeName
from spoqplus_backup.core.preflight import ID_FORMAT
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.retention.report import RetentionReport
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

FOLDER = "reports/retention"
RECORD, SIGNATURE = ".json", ".json.sig"


class RetentionRecord(Model):
    """What a run deleted; `planned_at` is when it was decided."""

    format_version: int = 1
    site: SafeName
    run_id: str
    planned_at: datetime
    report: RetentionReport


def note_deletions(
    settings: Settings, repository: Repository, run_id: str, planned_at: datetime, report: RetentionReport
) -> None:
    """Keep a report of something; a second try of the same run replaces it. Without a key to sign with nothing is kept.

    A repository that does not take it is no reason for a retention to fail: what had to go is gone.
    """
    if not (report.deleted or report.refused):
        return
    if settings.signing.private_key_file is None:
        log.info("What was deleted is not noted in %s: this machine has no key to sign with", repository.url)
        return
    record = RetentionRecord(site=settings.site, run_id=run_id, planned_at=planned_at, report=report)
    content = record.model_dump_json(indent=2).encode() + b"\n"
    key = f"{FOLDER}/{planned_at.astimezone(ZoneInfo(settings.timezone)):{ID_FORMAT}}"
    try:
        repository.put_bytes(key + SIGNATURE, sign(content, settings.signing.private_key_file))
        repository.put_bytes(key + RECORD, content)
    except BackupError as error:
        log.warning("What was deleted could not be noted in %s: %s", repository.url, error)


def last_record(repository: Repository, public_key_files: Sequence[Path], site: str) -> RetentionRecord | None:
    """The newest report that can be believed; None: there is none.

    Raises:
        BackupError: the repository can't be reached.
    """
    beginning = datetime.min.replace(tzinfo=timezone.utc)
    return next(records(repository, public_key_files, site, beginning), None)


def records(
    repository: Repository, public_key_files: Sequence[Path], site: str, since: datetime
) -> Iterator[RetentionRecord]:
    """Every report since a moment that can be believed, newest first.

    Raises:
        BackupError: the repository can't be reached.
    """
    for key in _keys(repository):
        try:
            record = _read(repository, key, public_key_files, site)
        except IntegrityError as error:
            log.warning("A report of a retention does not count: %s", error)
            continue
        if record.planned_at < since:
            return
        yield record


def _keys(repository: Repository) -> list[str]:
    return sorted((key for key in repository.list(f"{FOLDER}/") if key.endswith(RECORD)), reverse=True)


def _read(repository: Repository, key: str, public_key_files: Sequence[Path], site: str) -> RetentionRecord:
    where = f"{repository.url}/{key}"
    content = repository.read(key)
    signature = repository.read(key.removesuffix(RECORD) + SIGNATURE)
    verify_signature(content, signature, public_key_files, where)
    try:
        record = RetentionRecord.model_validate_json(content)
    except ValidationError as error:
        raise IntegrityError(f"{where} can't be read: {error.errors(include_url=False)[0]['msg']}.") from error
    if record.site != site:
        raise IntegrityError(f"{where} is of the site {record.site}, not of {site}.")
    return record
