"""Encryption by GnuPG to the owner of one key, as the strategy has it for the environment.

No keyring of the machine is used: the key's file goes into one that lives for a single call, where the key is trusted
because the configuration names it.
"""

import contextlib
import io
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from spoqplus_backup.core.crypto import decrypted, first_bytes, run_filter
from spoqplus_backup.core.errors import IntegrityError, PermanentError, WrongKeyError
from spoqplus_backup.core.process import Child, ProcessError, find_program, output_of

LONGEST_PLACE = 70
IMPORT_SECONDS = 60.0
_PACKAGE = "gnupg"
_VALIDITY, _EXPIRY, _CAPABILITIES = 1, 6, 11  # fields of `gpg --with-colons`
_NEVER = datetime.max.replace(tzinfo=timezone.utc)
_UNUSABLE = {"r": "was revoked", "e": "has expired"}
_DAMAGED = ("no valid OpenPGP", "has been manipulated", "decryption failed", "invalid packet", "unexpected end of file")


@dataclass(frozen=True)
class GpgScheme:
    """OpenPGP through the `gpg` program. The private key's file has no passphrase, as age's identities have none."""

    recipient: str
    public_key_file: Path
    private_key_file: Path | None = None
    name: Literal["gpg"] = "gpg"
    suffix: str = ".gpg"

    @property
    def readers(self) -> tuple[str, ...]:
        """The recipient."""
        return (self.recipient,)

    def encrypt(self, source: Path, target: Path) -> tuple[int, str]:
        """Encrypt to the recipient."""
        with _keyring(self.public_key_file) as gpg:
            self._check_recipient(gpg)
            to = ["--trust-model", "always", "--no-auto-key-locate", "--recipient", self.recipient]
            return run_filter([*gpg, *to, "--compress-algo", "none", "--encrypt"], source, target)

    def check_recipient(self) -> None:
        """See that the key's file is one, and the recipient's, and that the key may encrypt today.

        Raises:
            PermanentError: it is not, has expired, was revoked, or is for signatures alone.
        """
        with _keyring(self.public_key_file) as gpg:
            self._check_recipient(gpg)

    def expires_at(self) -> datetime | None:
        """Up to when the key can encrypt; None when it never expires. One that has expired says when it did.

        Raises:
            PermanentError: the file is no key, or not the recipient's.
        """
        with _keyring(self.public_key_file) as gpg:
            keys = self._keys(gpg)
        own = [_expiry(fields) for fields in keys if fields[0] == "pub"]
        encrypting = [_expiry(fields) for fields in keys if "e" in fields[_CAPABILITIES]]
        ends = [end for end in (min(own, default=None), max(encrypting, default=None)) if end is not None]
        first = min(ends, default=_NEVER)
        return None if first == _NEVER else first

    def _keys(self, gpg: list[str]) -> list[list[str]]:
        """The fields of the recipient's key and its subkeys."""
        try:
            command = [*gpg, "--with-colons", "--list-keys", "--", self.recipient]
            listed = output_of(command, stall_seconds=IMPORT_SECONDS).decode("utf-8", "replace")
        except ProcessError as error:
            raise PermanentError(
                f"{self.public_key_file} holds no key of {self.recipient}: correct `environment.gpg_recipient`, or "
                f"export the right key: gpg --export {self.recipient}."
            ) from error
        return [line.split(":") for line in listed.splitlines() if line.startswith(("pub:", "sub:"))]

    def _check_recipient(self, gpg: list[str]) -> None:
        keys = self._keys(gpg)
        if not any("E" in fields[_CAPABILITIES] for fields in keys):  # what the whole key may do today
            states = {fields[_VALIDITY] for fields in keys}
            why = next((words for state, words in _UNUSABLE.items() if state in states), "can't encrypt")
            raise PermanentError(
                f"The key of {self.recipient} in {self.public_key_file} {why}: have its owner extend or renew it, and "
                f"export it again: gpg --export {self.recipient}."
            )

    @contextlib.contextmanager
    def decrypting(self, source: Path) -> Iterator[io.RawIOBase]:
        """The plaintext."""
        if self.private_key_file is None:
            raise WrongKeyError(
                f"There is no key to open {source} with: name the file of the private one in "
                "`environment.gpg_private_key_file`, on the machine that restores."
            )
        with (
            _keyring(self.private_key_file) as gpg,
            decrypted([*gpg, "--pinentry-mode", "error", "--decrypt"], source, self._explained) as reader,
        ):
            yield reader

    def check_can_open(self, source: Path) -> None:
        """Decrypt the beginning."""
        first_bytes(self, source, 1)

    def _explained(self, error: ProcessError, source: Path) -> Exception:
        words = " ".join(error.stderr.split())[-300:]
        if "No secret key" in error.stderr:
            return WrongKeyError(
                f"The key in {self.private_key_file} does not open {source}: it is made for {self.recipient}."
            )
        if any(said in error.stderr for said in _DAMAGED):
            return IntegrityError(f"{source} is damaged or cut off, gpg says: {words}")
        return error


def _expiry(fields: list[str]) -> datetime:
    return datetime.fromtimestamp(int(fields[_EXPIRY]), timezone.utc) if fields[_EXPIRY] else _NEVER


@contextlib.contextmanager
def _keyring(key_file: Path) -> Iterator[list[str]]:
    """A keyring that has one file's keys and goes with the block: how to call gpg with it."""
    # its agent's socket lies in there, whose path may have 107 bytes
    place = None if len(os.fsencode(tempfile.gettempdir())) < LONGEST_PLACE else "/tmp"  # noqa: S108 (a folder of 0700)
    with tempfile.TemporaryDirectory(prefix="gpg-", dir=place, ignore_cleanup_errors=True) as home:  # for us alone
        gpg = [find_program("gpg", _PACKAGE), "--homedir", home, "--batch", "--no-tty", "--quiet"]
        try:
            _import(gpg, key_file)
            yield gpg
        finally:
            _end_agent(home)


def _import(gpg: list[str], key_file: Path) -> None:
    try:
        output_of([*gpg, "--import", "--", str(key_file)], stall_seconds=IMPORT_SECONDS)
    except ProcessError as error:
        words = " ".join(error.stderr.split())[-300:]
        raise PermanentError(
            f"{key_file} can't be used as a key, gpg says: {words}: export it again, a private one without passphrase."
        ) from error


def _end_agent(home: str) -> None:
    """A private key brings an agent with it, which would outlive the call."""
    with (
        contextlib.suppress(ProcessError, PermanentError),
        Child(
            [find_program("gpgconf", _PACKAGE), "--homedir", home, "--kill", "all"], stdout=subprocess.DEVNULL
        ) as child,
    ):
        child.finish()
