"""Throw-away keys for tests, made by the real programs."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from spoqplus_backup.core.crypto import generate_signing_key


class AgePair(NamedTuple):
    """A public key and the file that holds its private half."""

    recipient: str
    identity_file: Path


class SigningPair(NamedTuple):
    """The two files of a pair."""

    private: Path
    public: Path


def age_pair(folder: Path, name: str = "identity") -> AgePair:
    """Make one with age-keygen."""
    identity = folder / f"{name}.txt"
    subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    public = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True).stdout
    return AgePair(public.strip(), identity)


def signing_pair(folder: Path, name: str = "signing") -> SigningPair:
    """Make an Ed25519 pair."""
    pair = SigningPair(folder / f"{name}.key", folder / f"{name}.pub")
    generate_signing_key(*pair)
    return pair


class GpgPair(NamedTuple):
    """An OpenPGP key: whose it is, its exported halves, and a keyring that has both."""

    recipient: str
    public: Path
    private: Path
    home: Path


@contextlib.contextmanager
def gpg_pair(folder: Path, recipient: str, *made: str) -> Iterator[GpgPair]:
    """Make one without passphrase; its keyring and agent go with the block.

    `made` are algorithm, usage and expiry, as gpg has them.
    """
    home = Path(tempfile.mkdtemp(prefix="spoq"))  # an agent's socket needs a short path
    pair = GpgPair(recipient, folder / "public.gpg", folder / "private.gpg", home)
    folder.mkdir(parents=True, exist_ok=True)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
    try:
        # made in the past, so that it may have expired
        command = [*gpg, "--faked-system-time", "20200101T000000", "--quick-generate-key", recipient]
        subprocess.run([*command, *(made or ("future-default", "default", "never"))], check=True, capture_output=True)
        pair.public.write_bytes(subprocess.run([*gpg, "--export", recipient], check=True, capture_output=True).stdout)
        secret = subprocess.run([*gpg, "--export-secret-keys", recipient], check=True, capture_output=True).stdout
        pair.private.write_bytes(secret)
        yield pair
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
        shutil.rmtree(home, ignore_errors=True)
