"""The errors of the domain. Each message says what happened, to what, and what to do next."""

import errno


class BackupError(Exception):
    """Something failed that may well succeed when it is tried again: a network, a lock, a server restarting."""


class PermanentError(BackupError):
    """Trying again can't help: a wrong key, a wrong password, a full disk, a forged manifest, a missing input."""


class SettingsError(PermanentError):
    """The configuration is wrong. One sentence: file, field, remedy."""


class IntegrityError(PermanentError):
    """What is stored is not what was written: a wrong size, checksum, signature, or nothing at all."""


class NewerFormatError(IntegrityError):
    """What is stored was written by a newer version of this project than the one that reads it."""


class AbsentError(PermanentError):
    """There is no such backup in a repository; another may have it."""


class WrongKeyError(PermanentError):
    """The key or password at hand does not open this backup."""


class DiskFullError(PermanentError):
    """No space left where something had to be written."""


def disk_full(error: OSError, where: object) -> DiskFullError | None:
    """Turn an ENOSPC or EDQUOT of the operating system into our error; None for any other error."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"No space left on the disk of {where}: free some or point `staging.directory` elsewhere.")
    return None
