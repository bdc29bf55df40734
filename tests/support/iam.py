"""S3 clients that may do what an IAM policy allows, and note what they did.

moto's own enforcement refuses on whole requests and knows neither multipart uploads nor the deletion of many objects.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from spoqplus_backup.core.connections import ConnectionRecord, s3_client

POLICIES = Path(__file__).resolve().parents[2] / "include" / "aws"
BUCKET = "spoqplus-backup"
ARN = f"arn:aws:s3:::{BUCKET}"

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
BUCKET_ACTIONS = {
    "ListObjectsV2": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "GetBucketVersioning": "s3:GetBucketVersioning",
    "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
}
OBJECT_ACTIONS = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
    "PutObjectRetention": "s3:PutObjectRetention",
}
# What is needed beside that, when a request has such a parameter.
LOCKING = {"ObjectLockMode": "s3:PutObjectRetention", "ObjectLockLegalHoldStatus": "s3:PutObjectLegalHold"}
# HEAD tells of locks only who has these, and refuses nobody.
TOLD_BY_HEAD = {
    "ObjectLockMode": "s3:GetObjectRetention",
    "ObjectLockRetainUntilDate": "s3:GetObjectRetention",
    "ObjectLockLegalHoldStatus": "s3:GetObjectLegalHold",
}


@dataclass
class Role:
    """A policy, and what was done under it: pairs of action and statement, and the operations that were asked for."""

    policy: dict[str, Any]
    used: set[tuple[str, str]] = field(default_factory=set)
    denied: list[str] = field(default_factory=list)
    operations: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, name: str) -> "Role":
        return cls(json.loads((POLICIES / f"{name}.json").read_text()))

    def without(self, action: str, sid: str) -> "Role":
        """The same policy without one action of one statement."""
        changed = json.loads(json.dumps(self.policy))
        for statement in changed["Statement"]:
            if statement["Sid"] == sid:
                statement["Action"] = [item for item in listed(statement["Action"]) if item != action]
        return Role(changed)

    @property
    def granted(self) -> set[tuple[str, str]]:
        return {
            (action, statement["Sid"])
            for statement in self.policy["Statement"]
            for action in listed(statement["Action"])
        }

    def allows(self, action: str, arn: str) -> bool:
        for statement in self.policy["Statement"]:
            fits = any(re.fullmatch(pattern(resource), arn) for resource in listed(statement["Resource"]))
            if action in listed(statement["Action"]) and fits:
                self.used.add((action, statement["Sid"]))
                return True
        self.denied.append(f"{action} {arn}")
        return False

    def client(self, record: ConnectionRecord) -> Any:
        """A client that refuses before it asks."""
        client = s3_client(record)

        def check(params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
            self.operations.add(model.name)
            context["asked_for"] = params.get("Key")
            for action, arn in needed(model.name, params):
                if not self.allows(action, arn):
                    answer = {"Error": {"Code": "AccessDenied", "Message": f"{action} on {arn}"}}
                    raise ClientError(answer | {"ResponseMetadata": {"HTTPStatusCode": 403}}, model.name)

        def tell(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
            for name in TOLD_BY_HEAD.keys() & parsed.keys():
                if not self.allows(TOLD_BY_HEAD[name], f"{ARN}/{context['asked_for']}"):
                    del parsed[name]

        client.meta.events.register("provide-client-params.s3", check)
        client.meta.events.register("after-call.s3.HeadObject", tell)
        return client


def needed(operation: str, params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The actions that an operation needs, each with its resource; a test's own bucket stands for the policies'."""
    assert params["Bucket"].startswith(BUCKET)
    if operation in BUCKET_ACTIONS:
        yield BUCKET_ACTIONS[operation], ARN
    elif operation == "DeleteObjects":
        for item in params["Delete"]["Objects"]:
            yield "s3:DeleteObjectVersion" if "VersionId" in item else "s3:DeleteObject", f"{ARN}/{item['Key']}"
    else:
        yield OBJECT_ACTIONS[operation], f"{ARN}/{params['Key']}"
        for name in LOCKING.keys() & params.keys():
            yield LOCKING[name], f"{ARN}/{params['Key']}"


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


def pattern(resource: str) -> str:
    return ".*".join(map(re.escape, resource.split("*")))
