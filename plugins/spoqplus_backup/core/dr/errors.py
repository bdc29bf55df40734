"""What AWS answers, as errors of ours: those that another try may heal, and those that it can't."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from spoqplus_backup.core.errors import BackupError, PermanentError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_BUSY = ("Throttl", "RequestLimitExceeded", "PriorRequestNotComplete", "SlowDown", "TooManyRequests")
_DENIED = ("AccessDenied", "Unauthorized", "NotAuthorized", "InvalidClientTokenId", "SignatureDoesNotMatch", "OptIn")
_CHANGING = ("InvalidDBInstanceState", "IncorrectState", "InvalidDBSnapshotState")
_SERVER_FAULT = 500


@contextlib.contextmanager
def aws_calls(what: str) -> Iterator[None]:
    """Translate what botocore raises within the block; `what` says what it asks, to what.

    Raises:
        BackupError: throttled, out of order or unreachable, after botocore's own tries; or it can't be done right now.
        PermanentError: not allowed, or wrong.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _of_answer(what, error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise PermanentError(f"{what}: there are no credentials ({error}): set them in the connection.") from error
    except (BotoCoreError, ResponseParserError) as error:  # the latter: a page in HTML, of a proxy between
        raise BackupError(f"{what}: AWS can't be reached ({error}): check the network and the region.") from error


def code_of(error: "ClientError") -> str:
    """The error's code, such as `DBInstanceNotFound`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _of_answer(what: str, error: "ClientError") -> BackupError:
    code, answer = code_of(error), error.response.get("ResponseMetadata", {})
    words = error.response.get("Error", {}).get("Message") or "no more was said"
    tries = answer.get("RetryAttempts", 0) + 1
    said = f"{what}: AWS answered {code or answer.get('HTTPStatusCode')}: {words}"
    if code.startswith(_BUSY):
        return BackupError(f"{said} (tried {tries} times): too many requests at once; the next try goes on.")
    if answer.get("HTTPStatusCode", 0) >= _SERVER_FAULT:
        return BackupError(f"{said} (tried {tries} times): look at the region's health; the next try goes on.")
    if code.startswith(_CHANGING):
        return BackupError(f"{said}: it is being changed; the next try goes on.")
    if code.startswith(_DENIED):
        return PermanentError(f"{said}: allow {error.operation_name} to the connection's user or role.")
    return PermanentError(f"{said}: correct what was asked for.")
