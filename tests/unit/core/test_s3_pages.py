"""Pages of a listing hold what botocore would have read, of every kind of page."""

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from spoqplus_backup.core import s3_pages
from spoqplus_backup.core.connections import s3_client
from spoqplus_backup.core.s3_pages import moment
from support import s3

KEYS = ("daily/20250101_030000/manifest.json", "daily/20250102_030000/a&b <c> 'd'", "daily/한글 이름\t+%20", "empty")
ONCE = {"retries": {"mode": "standard", "total_max_attempts": 1}}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.moto() as endpoint:
        client = s3_client(s3.record(endpoint))
        for key in KEYS:
            client.put_object(Bucket=s3.BUCKET, Key=key, Body=b"" if key == "empty" else key.encode())
        yield endpoint


def plain_client(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One that reads pages as botocore does."""
    with monkeypatch.context() as patch:
        patch.setattr(s3_pages, "read_pages", lambda client: None)
        return s3_client(s3.record(endpoint, config_kwargs=ONCE))


@pytest.mark.parametrize(
    "wanted",
    [{}, {"Prefix": "daily/"}, {"Delimiter": "/"}, {"MaxKeys": 2}, {"Prefix": "nothing"}, {"StartAfter": KEYS[0]}],
    ids=str,
)
def test_a_page_is_what_botocore_reads(endpoint: str, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any]) -> None:
    ours = s3_client(s3.record(endpoint)).list_objects_v2(Bucket=s3.BUCKET, **wanted)
    theirs = plain_client(endpoint, monkeypatch).list_objects_v2(Bucket=s3.BUCKET, **wanted)

    for page in (ours, theirs):
        del page["ResponseMetadata"]
        page.pop("NextContinuationToken", None)  # a new one each time
    for item in theirs.get("Contents", []):
        for unused in set(item) - {"Key", "LastModified", "ETag", "Size"}:
            del item[unused]
    assert ours == theirs


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<ListBucketResult><Contents><Key>half of a pa"),
        (200, b"<Error><Code>InternalError</Code><Message>in a page</Message></Error>"),
        (403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"),
        (503, b"<html>out of order</html>"),
    ],
)
def test_what_is_no_page_fails_as_it_does_in_botocore(
    monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    def answer(request: Any, **_: object) -> AWSResponse:
        response = AWSResponse(request.url, status, {}, None)
        response._content = body
        return response

    said = []
    nowhere = "http://127.0.0.1:9"
    for client in (s3_client(s3.record(nowhere, config_kwargs=ONCE)), plain_client(nowhere, monkeypatch)):
        client.meta.events.register("before-send.s3.ListObjectsV2", answer)
        with pytest.raises(ClientError) as error:
            client.list_objects_v2(Bucket=s3.BUCKET)
        said.append(error.value.response["Error"])
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "value", ["2025-01-02T03:04:05.000Z", "2025-01-02T03:04:05Z", "Thu, 02 Jan 2025 03:04:05 GMT", 1735787045]
)
def test_times_are_read_as_botocore_reads_them(value: str | int) -> None:
    assert moment(value) == datetime(2025, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
