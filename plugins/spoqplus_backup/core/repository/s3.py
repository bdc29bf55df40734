"""A repository in an S3 bucket: of AWS, or of any server that speaks its protocol.

Every object is sent with its SHA-256, which AWS checks on arrival and keeps. Some servers keep what they are told and
check nothing; whether this one checks is found out with a wrong checksum, and what such a server holds is read back.
"""

import base64
import contextlib
import hashlib
import io
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from spoqplus_backup.core.errors import BackupError, DiskFullError, IntegrityError, PermanentError
from spoqplus_backup.core.process import check_cancelled
from spoqplus_backup.core.repository.base import (
    BLOCK_BYTES,
    PROBE_CONTENT,
    PROBE_FOLDER,
    Keeping,
    Marked,
    Progress,
    Stored,
    check_content,
    check_size,
    missing,
    receive,
    wrong_checksum,
)

log = logging.getLogger(__name__)

MIB = 1 << 20
SINGLE_BYTES = 64 * MIB  # up to here an object goes in one request
PIECE_BYTES = 16 * MIB
PIECES_AT_ONCE = 4
MOST_PIECES = 10_000  # S3's limit
ATTEMPTS = 5  # to go on with a broken download
SAME_LOCK = timedelta(hours=1)  # a lock that ends so much earlier is as good: it was set in this run

WHOLE = "sha256"  # metadata: of the object, in hexadecimal
COMPOSITE = "sha256-pieces"  # metadata: what S3 makes of the checksums of a multipart upload's pieces, in Base64
_NO_SUCH_BUCKET = "NoSuchBucket"
_WRONG_CHECKSUM = ("BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest", "XAmzContentSHA256Mismatch")
_FULL = ("QuotaExceeded", "XMinioStorageFull", "EntityTooLarge")
_NEVER = (
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "InvalidBucketName",
    "IllegalLocationConstraintException",
    "InvalidStorageClass",
)
_NO_LOCK = ("ObjectLockConfigurationNotFoundError", "InvalidRequest", "NotImplemented", "MethodNotAllowed")
_HARDEST = "COMPLIANCE"
_DEFAULT_CLASS = "STANDARD"
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError)
_POLICY = "s3:ListBucket, s3:ListBucketMultipartUploads, s3:GetObject, s3:PutObject and s3:AbortMultipartUpload"
_LOCK_POLICY = ", and for object lock s3:PutObjectRetention and s3:GetObjectRetention"


AMAZON = (".amazonaws.com", ".amazonaws.com.cn")  # hosts whose buckets' names are the only ones of their kind


class S3Repository:
    """Objects below a prefix of a bucket."""

    def __init__(
        self, name: str, connect: Callable[[], Any], bucket: str, prefix: str = "", keeping: Keeping | None = None
    ) -> None:
        """`connect` makes the boto3 client when it is needed first; `keeping` is how what is stored is kept."""
        self.name = name
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        self.keeping = keeping or Keeping()
        self._connect = connect
        self._connected: Any = None
        self._refuses: bool | None = None
        self._once = threading.RLock()  # parts are sent and checked by several threads

    @property
    def _client(self) -> Any:
        with self._once:
            if self._connected is None:
                self._connected = self._connect()
            return self._connected

    @property
    def url(self) -> str:
        """Its root, for people."""
        return f"s3://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    @property
    def place(self) -> str:
        """The bucket: of AWS by its name, which is the only one of its kind, elsewhere on its server."""
        if self.amazon_region is not None:
            return f"s3://{self.bucket}"
        return f"{urlsplit(self._client.meta.endpoint_url).netloc}/{self.bucket}"

    @property
    def amazon_region(self) -> str | None:
        """Where in AWS it is asked; None on any other server."""
        host = urlsplit(self._client.meta.endpoint_url).hostname or ""
        return str(self._client.meta.region_name) if host.endswith(AMAZON) else None

    def probe(self) -> None:
        """See that it can be written to, read from and listed, and that it can keep what is stored as configured."""
        self._probe_lock()
        key = f"{PROBE_FOLDER}/{uuid.uuid4().hex}"
        self._put_small(key, PROBE_CONTENT, self._class())  # without a lock: it is to be removed again
        if self.read(key) != PROBE_CONTENT:
            raise IntegrityError(f"What was written to {self._where(key)} reads back otherwise: look after the server.")
        self.list_folders()
        self._remove_probe(key)

    def _probe_lock(self) -> None:
        if self.keeping.lock_mode is None:
            return
        with self._translated(""):
            try:
                found = self._client.get_object_lock_configuration(Bucket=self.bucket)
            except ClientError as error:
                if _status(error) in (401, 403):
                    log.info("%s may have object lock or not: this connection may not look", self.url)
                    return
                if _code(error) not in _NO_LOCK:
                    raise
                found = {}
        if found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            raise PermanentError(
                f"The bucket {self.bucket} has no object lock: enable it there (versioning first), or remove "
                f"`object_lock` of the repository {self.name}."
            )

    def _class(self) -> dict[str, Any]:
        return {"StorageClass": self.keeping.storage_class} if self.keeping.storage_class else {}

    def _lock(self) -> dict[str, Any]:
        if self.keeping.lock_mode is None:
            return {}
        until = datetime.now(timezone.utc) + timedelta(days=self.keeping.lock_days)
        return {"ObjectLockMode": self.keeping.lock_mode.upper(), "ObjectLockRetainUntilDate": until}

    def _remove_probe(self, key: str) -> None:
        try:
            self.delete(key)
        except PermanentError:  # a writer that may not delete is a safe writer
            log.info("%s stays: this connection may not delete", self._where(key))

    @property
    def checks_checksums(self) -> bool:
        """Whether the server refuses an object whose checksum is wrong; asked once."""
        with self._once:
            if self._refuses is None:
                self._refuses = self._refuses_wrong_checksum()
            return self._refuses

    def _refuses_wrong_checksum(self) -> bool:
        key = f"{PROBE_FOLDER}/{uuid.uuid4().hex}"
        with self._translated(key):
            try:
                self._client.put_object(
                    **self._at(key), Body=PROBE_CONTENT, ChecksumAlgorithm="SHA256", ChecksumSHA256=_base64(bytes(32))
                )
            except ClientError as error:
                if _code(error) in _WRONG_CHECKSUM:
                    return True
                raise
        self._remove_probe(key)
        return False

    def put(
        self, key: str, source: Path, sha256: str, progress: Progress | None = None, *, absent: bool = False
    ) -> bool:
        """Store a file: small ones in one request, larger ones in pieces, some at once."""
        size = source.stat().st_size
        if not absent and (head := self._head(key)) is not None and _stored(head) == Stored(size, sha256):
            self._lock_again(key, head)
            if progress:
                progress(size)
            return False
        with self._translated(key, source=(source, sha256)):
            if size <= SINGLE_BYTES:
                self._put_whole(key, source, sha256)
                if progress:
                    progress(size)
            else:
                self._put_pieces(key, source, sha256, size, progress)
        return True

    def _lock_again(self, key: str, head: dict[str, Any]) -> None:
        """Lock what was stored before the lock was configured, or is locked for less; never shorter, never weaker."""
        if self.keeping.lock_mode is None:
            return
        lock = self._lock()
        mode, until = head.get("ObjectLockMode"), head.get("ObjectLockRetainUntilDate")
        wanted = _HARDEST if mode == _HARDEST else lock["ObjectLockMode"]
        last = lock["ObjectLockRetainUntilDate"]
        if until is not None:
            if mode == wanted and until >= last - SAME_LOCK:
                return
            last = max(last, until)
        with self._translated(key):
            self._client.put_object_retention(**self._at(key), Retention={"Mode": wanted, "RetainUntilDate": last})

    def lock(self, key: str) -> None:
        """Lock an object that is there as long as one that is stored now."""
        if self.keeping.lock_mode is None:
            return
        head = self._head(key)
        if head is None:
            raise missing(self._where(key))
        self._lock_again(key, head)

    def _put_whole(self, key: str, source: Path, sha256: str) -> None:
        checksum = _base64(bytes.fromhex(sha256))
        with source.open("rb") as body:
            answer = self._client.put_object(
                **self._at(key),
                Body=body,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=checksum,
                Metadata={WHOLE: sha256},
                **self._class(),
                **self._lock(),
            )
        self._compare(key, answer.get("ChecksumSHA256"), checksum)

    def _put_pieces(self, key: str, source: Path, sha256: str, size: int, progress: Progress | None) -> None:
        self._abort_leftovers(key)
        length = max(PIECE_BYTES, -(-size // MOST_PIECES))
        with source.open("rb") as file:
            pieces = [_Piece(file.fileno(), start, min(length, size - start)) for start in range(0, size, length)]
            checksums = _checksums(source, pieces, sha256)
            composite = _base64(hashlib.sha256(b"".join(map(base64.b64decode, checksums))).digest())
            upload = self._client.create_multipart_upload(
                **self._at(key),
                ChecksumAlgorithm="SHA256",
                ChecksumType="COMPOSITE",
                Metadata={WHOLE: sha256, COMPOSITE: composite},
                **self._class(),
                **self._lock(),
            )["UploadId"]
            try:
                sent = self._send_pieces(key, upload, pieces, checksums, progress)
                answer = self._client.complete_multipart_upload(
                    **self._at(key), UploadId=upload, MultipartUpload={"Parts": sent}
                )
            except BaseException:
                self._abort(key, upload)
                raise
        self._compare(key, answer.get("ChecksumSHA256"), composite)
        if self.keeping.lock_mode is not None:  # some servers forget what an upload in pieces was begun with
            self._lock_again(key, self._head(key) or {})

    def _send_pieces(
        self, key: str, upload: str, pieces: Sequence["_Piece"], checksums: Sequence[str], progress: Progress | None
    ) -> Sequence[dict[str, Any]]:
        def send(number: int) -> dict[str, Any]:
            check_cancelled()
            checksum = checksums[number - 1]
            answer = self._client.upload_part(
                **self._at(key),
                UploadId=upload,
                PartNumber=number,
                Body=pieces[number - 1],
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=checksum,
            )
            if progress:
                progress(pieces[number - 1].length)
            return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

        with ThreadPoolExecutor(PIECES_AT_ONCE) as pool:
            futures = [pool.submit(send, number) for number in range(1, len(pieces) + 1)]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _abort(self, key: str, upload: str) -> None:
        try:
            self._client.abort_multipart_upload(**self._at(key), UploadId=upload)
        except (ClientError, BotoCoreError) as error:
            log.warning("The unfinished upload of %s stays on the server: %s", self._where(key), error)

    def _abort_leftovers(self, key: str) -> None:
        """A killed uploader leaves an upload that nobody sees and everybody pays for."""
        try:
            found = self._client.list_multipart_uploads(Bucket=self.bucket, Prefix=self._key(key))
        except ClientError as error:  # some servers answer so when there is none, or do not know the request
            log.info("%s can't be searched for unfinished uploads: %s", self.url, error)
            return
        for upload in found.get("Uploads", []):
            if upload["Key"] == self._key(key):
                self._abort(key, upload["UploadId"])

    def put_bytes(self, key: str, content: bytes) -> None:
        """Store a small object, in place of one of that name; always in the default class, for it is read often."""
        self._put_small(key, content, self._lock())

    def _put_small(self, key: str, content: bytes, kept: dict[str, Any]) -> None:
        digest = hashlib.sha256(content)
        checksum = _base64(digest.digest())
        with self._translated(key):
            answer = self._client.put_object(
                **self._at(key),
                Body=content,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=checksum,
                Metadata={WHOLE: digest.hexdigest()},
                **kept,
            )
        self._compare(key, answer.get("ChecksumSHA256"), checksum)

    def _compare(self, key: str, answered: str | None, expected: str) -> None:
        if answered is not None and _without_count(answered) != expected:
            raise BackupError(f"{self._where(key)} arrived with another checksum than it was sent with: send it again.")

    def stat(self, key: str) -> Stored | None:
        """What is under a key; its checksum is what the server was told, where it keeps that."""
        head = self._head(key)
        return None if head is None else _stored(head)

    def _head(self, key: str) -> dict[str, Any] | None:
        with self._translated(key):
            try:
                head: dict[str, Any] = self._client.head_object(**self._at(key), ChecksumMode="ENABLED")
            except ClientError as error:
                if _status(error) == 404:  # of the bucket too: an answer to HEAD has no words
                    return None
                raise
        return head

    def check(self, key: str, size: int | None, sha256: str, *, read_back: bool = False) -> None:
        """Ask a server that checks what it keeps; read the object of any other. What should be locked has to be."""
        where = self._where(key)
        head = self._head(key)
        if head is None:
            raise missing(where)
        stored = _stored(head)
        check_size(stored.bytes, stored.bytes if size is None else size, where)
        if stored.sha256 is not None and stored.sha256 != sha256:
            raise wrong_checksum(where, stored.sha256, sha256)
        self._check_kept(head, where)
        if read_back or stored.sha256 is None or not self.checks_checksums:
            check_content(self._blocks(key), sha256, stored.bytes, where)

    def _check_kept(self, head: dict[str, Any], where: str) -> None:
        if self.keeping.lock_mode is not None and not head.get("ObjectLockMode"):
            raise PermanentError(
                f"{where} is not locked, or the policy lacks s3:GetObjectRetention, without which nobody can tell: "
                "allow it, or clear the upload that stored the object, which locks it."
            )
        found = head.get("StorageClass") or _DEFAULT_CLASS
        if self.keeping.storage_class is not None and found != self.keeping.storage_class:
            log.warning("%s is in the storage class %s, not %s", where, found, self.keeping.storage_class)

    def get(self, key: str, target: Path, sha256: str, size: int, progress: Progress | None = None) -> None:
        """Bring an object to a file."""
        receive(self._blocks(key), target, sha256, size, self._where(key), progress)

    def read(self, key: str) -> bytes:
        """A small object."""
        return b"".join(self._blocks(key))

    def _blocks(self, key: str) -> Iterator[bytes]:
        """The content of an object; a broken connection is opened again where it broke."""
        offset, failures = 0, 0
        rest: dict[str, str] = {}
        while True:
            with self._translated(key):
                answer = self._client.get_object(**self._at(key), **rest)
            try:
                for block in answer["Body"].iter_chunks(BLOCK_BYTES):
                    offset, failures = offset + len(block), 0
                    yield block
                return
            except BotoCoreError as error:
                failures += 1
                if failures == ATTEMPTS:
                    raise BackupError(f"{self._where(key)} broke off after {offset} bytes: {error}.") from error
                rest = {"Range": f"bytes={offset}-", "IfMatch": answer["ETag"]}
                log.info("%s broke off after %d bytes, going on from there", self._where(key), offset)

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin with `prefix`, sorted."""
        for key, _ in self.sizes(prefix):
            yield key

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """The keys that begin with `prefix`, sorted, each with its object's bytes."""
        for page in self._pages(prefix):
            for entry in page.get("Contents", []):
                yield self._relative(entry["Key"]), int(entry["Size"])

    def list_folders(self, prefix: str = "") -> tuple[str, ...]:
        """The names of the folders right below `prefix`; sorted."""
        found = [entry["Prefix"] for page in self._pages(prefix, "/") for entry in page.get("CommonPrefixes", [])]
        return tuple(sorted(key.rstrip("/").rpartition("/")[2] for key in found))

    def list_marked(self, prefix: str, name: str) -> Iterator[Marked]:
        """The folders right below `prefix` that hold an object of this name; sorted."""
        with ThreadPoolExecutor(1) as ahead:  # the server makes the next page while this one is looked at
            answer: Future[dict[str, Any]] | None = ahead.submit(self._page, prefix, "")
            while answer is not None:
                page = answer.result()
                entries = [(self._relative(entry["Key"]), entry) for entry in page.get("Contents", [])]
                after = _next_after(prefix, entries[-1][0], name) if page.get("IsTruncated") and entries else None
                answer = ahead.submit(self._page, prefix, after) if after is not None else None
                for key, entry in entries:
                    folder, _, rest = key.removeprefix(prefix).partition("/")
                    if rest == name:
                        yield Marked(folder, entry["Size"], entry["ETag"].strip('"'))

    def _page(self, prefix: str, after: str) -> dict[str, Any]:
        """The keys that begin with `prefix`, from behind `after` on."""
        start = {"StartAfter": self._key(after)} if after else {}
        with self._translated(prefix):
            page: dict[str, Any] = self._client.list_objects_v2(Bucket=self.bucket, Prefix=self._key(prefix), **start)
        if after and page.get("Contents") and self._relative(page["Contents"][0]["Key"]) <= after:
            raise PermanentError(f"{self.url}: the server does not know StartAfter, so its backups can't be listed.")
        return page

    def _pages(self, prefix: str, delimiter: str = "") -> Iterator[dict[str, Any]]:
        with self._translated(prefix):
            pages = self._client.get_paginator("list_objects_v2")
            yield from pages.paginate(Bucket=self.bucket, Prefix=self._key(prefix), Delimiter=delimiter)

    def delete(self, key: str) -> None:
        """Remove an object."""
        with self._translated(key):
            self._client.delete_object(**self._at(key))

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _relative(self, key: str) -> str:
        return key[len(self.prefix) + 1 :] if self.prefix else key

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._key(key)}

    def _where(self, key: str) -> str:
        return f"{self.url}/{key}"

    @contextlib.contextmanager
    def _translated(self, key: str, source: tuple[Path, str] | None = None) -> Iterator[None]:
        """Turn the errors of boto3 into ours; `source` is the file that is sent, and its checksum."""
        try:
            yield
        except ClientError as error:
            if source and _code(error) in _WRONG_CHECKSUM:
                _check_source(*source)
            raise self._refusal(error, key) from error
        except _NO_CREDENTIALS as error:
            raise PermanentError(
                f"{self._where(key)} can't be reached: {error}: put the access key into the connection of the "
                f"repository {self.name}."
            ) from error
        except BotoCoreError as error:
            raise BackupError(
                f"{self._where(key)} can't be reached: {error}: look after network and server."
            ) from error

    def _refusal(self, error: ClientError, key: str) -> BackupError:
        status, code = _status(error), _code(error)
        where, said = self._where(key), f"{code}: {error.response['Error'].get('Message', '')}".strip(": ")
        if code == _NO_SUCH_BUCKET:
            return PermanentError(
                f"There is no bucket {self.bucket}: create it, or correct the root of the repository {self.name}."
            )
        if code == "NoSuchKey":
            return missing(where)
        if status in (401, 403):
            return PermanentError(
                f"{where} is refused ({said}): check the access key in the connection of the repository {self.name}, "
                f"and that its policy allows {_POLICY}{_LOCK_POLICY if self.keeping.lock_mode else ''}."
            )
        if code in _FULL or status == 507:
            return DiskFullError(f"The server has no room for {where} ({said}): free some or raise its quota.")
        if code in _NEVER:
            return PermanentError(
                f"{where} is refused ({said}): correct region, bucket, endpoint or storage class of {self.name}."
            )
        return BackupError(f"{where}: the server answered {status} ({said}): try again, or look after the server.")


class _Piece(io.RawIOBase):
    """A stretch of an open file as a file of its own: pieces that are sent at once need not be held in memory."""

    def __init__(self, fd: int, start: int, length: int) -> None:
        super().__init__()
        self.length = length
        self._fd = fd
        self._start = start
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.length}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        left = self.length - self._at
        block = os.pread(self._fd, left if size < 0 else min(size, left), self._start + self._at)
        self._at += len(block)
        return block


def _checksums(source: Path, pieces: Sequence["_Piece"], sha256: str) -> Sequence[str]:
    """The checksum of each piece in Base64; the file is compared with its own at the same time."""
    whole = hashlib.sha256()
    found = []
    for piece in pieces:
        digest = hashlib.sha256()
        while block := piece.read(BLOCK_BYTES):
            check_cancelled()
            digest.update(block)
            whole.update(block)
        piece.seek(0)
        found.append(_base64(digest.digest()))
    if whole.hexdigest() != sha256:
        raise _damaged_source(source)
    return found


def _check_source(source: Path, sha256: str) -> None:
    with source.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    if digest.hexdigest() != sha256:
        raise _damaged_source(source)


def _damaged_source(source: Path) -> IntegrityError:
    return IntegrityError(f"{source} is no longer what was encrypted: look after the disk, and clear the dump.")


def _next_after(prefix: str, last: str, name: str) -> str:
    """Where to go on behind a page's last key: right before its folder's marker, or behind that folder."""
    folder, _, rest = last.removeprefix(prefix).partition("/")
    if rest < name:
        return f"{prefix}{folder}/{max(rest, name[:-1])}"
    return f"{prefix}{folder}{chr(ord('/') + 1)}"


def _stored(head: dict[str, Any]) -> Stored:
    return Stored(head["ContentLength"], _told_sha256(head))


def _told_sha256(head: dict[str, Any]) -> str | None:
    """The SHA-256 that an object was sent with; None when the server keeps none or two that don't agree."""
    metadata = {name.lower(): value for name, value in head["Metadata"].items()}
    told = metadata.get(WHOLE)
    kept = head.get("ChecksumSHA256")
    if kept is None or told is None:
        return told
    expected = metadata.get(COMPOSITE) or _base64(bytes.fromhex(told))
    return told if _without_count(kept) == expected else None


def _without_count(checksum: str) -> str:
    """Without the number of pieces that S3 puts behind a composite checksum."""
    return checksum.partition("-")[0]


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
