"""Removing from an S3 bucket, for good: where the bucket keeps versions, every version and delete marker goes.

A plain DELETE in such a bucket succeeds always, even on an object that is locked: it hides the object and frees
nothing. So objects are removed by version, which a lock refuses: what is locked stays whole and can be restored.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone

from botocore.exceptions import ClientError

from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.repository.removal import BrokenUpload, Entry, Removed
from spoqplus_backup.core.repository.s3 import S3Repository

AT_ONCE = 1000  # objects in a request, S3's limit
FOREVER = datetime.max.replace(tzinfo=timezone.utc)  # a legal hold
_UNKNOWN = ("NotImplemented", "MethodNotAllowed", "NoSuchUpload", "NotFound", "NoSuchKey")
_AGAIN = ("SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted")
_REMEDY = "let the policy of its `delete_connection` allow what include/aws/pruner.json does, or see what locks it"


class S3Remover(S3Repository):
    """Objects below a prefix of a bucket, with credentials that may delete."""

    _versioned: bool | None = None

    def entries(self, prefix: str) -> Iterator[Entry]:
        """The objects, sorted by key."""
        for page in self._pages(prefix):
            for found in page.get("Contents", []):
                yield Entry(self._relative(found["Key"]), found["Size"], found["LastModified"])

    def keeps_versions(self) -> bool:
        """Whether the bucket has, or had, versioning; asked once."""
        if self._versioned is None:
            with self._translated(""):
                try:
                    self._versioned = "Status" in self._client.get_bucket_versioning(Bucket=self.bucket)
                except ClientError as error:
                    if _code(error) not in _UNKNOWN:  # of servers that know no versions
                        raise
                    self._versioned = False
        return self._versioned

    def everything(self, prefix: str) -> list[Entry]:
        """All below a prefix; of a bucket with versions also what a listing does not show."""
        return list(self._versions_below(prefix) if self.keeps_versions() else self.entries(prefix))

    def remove(self, entries: Sequence[Entry]) -> Removed:
        """Remove objects, a thousand in a request."""
        removed = Removed()
        if any(entry.version is None for entry in entries) and self.keeps_versions():
            entries = self._versions(entries)
        for start in range(0, len(entries), AT_ONCE):
            check_cancelled()
            removed.add(self._remove_batch(entries[start : start + AT_ONCE]))
        return removed

    def remove_below(self, prefix: str) -> Removed:
        """Remove everything below a prefix."""
        return self.remove(self.everything(prefix))

    def _versions(self, entries: Sequence[Entry]) -> list[Entry]:
        """Every version of each, found by one listing of what they have in common."""
        wanted = {entry.key for entry in entries}
        return [entry for entry in self._versions_below(_common(wanted)) if entry.key in wanted]

    def _versions_below(self, prefix: str) -> Iterator[Entry]:
        with self._translated(prefix):
            pages = self._client.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self._key(prefix)):
                for found in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                    key = self._relative(found["Key"])
                    yield Entry(key, found.get("Size", 0), found["LastModified"], found["VersionId"])

    def _remove_batch(self, batch: Sequence[Entry]) -> Removed:
        objects = [
            {"Key": self._key(entry.key)} | ({} if entry.version is None else {"VersionId": entry.version})
            for entry in batch
        ]
        with self._translated(batch[0].key):
            answer = self._client.delete_objects(Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True})
        errors = {(error["Key"], error.get("VersionId")): error for error in answer.get("Errors", [])}
        removed = Removed()
        for entry, sent in zip(batch, objects, strict=True):
            # a server may not say of which version it speaks
            error = errors.get((sent["Key"], sent.get("VersionId"))) or errors.get((sent["Key"], None))
            if error is None or error.get("Code") in _UNKNOWN:
                removed.objects += 1
                removed.bytes += entry.bytes
            elif error.get("Code") in _AGAIN:
                raise BackupError(f"{self._where(entry.key)} could not be deleted now ({error['Code']}): try again.")
            else:
                said = f"{error.get('Code')}: {error.get('Message', '')}".strip(": ")
                removed.refused.append((entry.key, f"{self._where(entry.key)} is refused ({said}): {_REMEDY}."))
        return removed

    def locked_until(self, key: str) -> datetime | None:
        """The object lock of an object's newest version."""
        head = self._head(key) if self.keeps_versions() else None
        if head is None:
            return None
        if head.get("ObjectLockLegalHoldStatus") == "ON":
            return FOREVER
        until: datetime | None = head.get("ObjectLockRetainUntilDate")
        return until

    def broken_uploads(self, prefix: str) -> Iterator[BrokenUpload]:
        """Multipart uploads that were neither ended nor aborted; their size is not asked for."""
        with self._translated(prefix):
            try:
                pages = self._client.get_paginator("list_multipart_uploads")
                for page in pages.paginate(Bucket=self.bucket, Prefix=self._key(prefix)):
                    for found in page.get("Uploads", []):
                        yield BrokenUpload(self._relative(found["Key"]), found["UploadId"], found["Initiated"])
            except ClientError as error:
                if _code(error) not in _UNKNOWN:  # some servers answer so when there is none
                    raise

    def abort(self, upload: BrokenUpload) -> None:
        """Abort it."""
        with self._translated(upload.key):
            try:
                self._client.abort_multipart_upload(**self._at(upload.key), UploadId=upload.id)
            except ClientError as error:
                if _code(error) not in _UNKNOWN:
                    raise


def _common(keys: Iterable[str]) -> str:
    first, last = min(keys), max(keys)
    length = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:length]


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
