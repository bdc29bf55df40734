"""Throw-away keys for tests, made by the real programs."""

import subprocess
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
