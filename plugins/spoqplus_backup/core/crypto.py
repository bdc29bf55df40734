"""Encryption of parts, by the programs that a person at a shell would use, and the signatures of manifests.

`age` to public keys: the host that writes backups can't read them. `openssl` by password is the weaker choice: who can
write can read, and nothing but the manifest's checksums shows a changed byte.
"""

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import IntegrityError, PermanentError, SettingsError, WrongKeyError
from spoqplus_backup.core.manifest import SchemeName
from spoqplus_backup.core.process import Child, ProcessError, find_program, secret_fd
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import write_all, written_aside

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES = 1 << 20
ITERATIONS = 600_000  # of PBKDF2, OWASP's number for SHA-256; restoring by hand needs the same
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_AGE_DAMAGED = (
    "failed to decrypt and authenticate",
    "unexpected EOF",
    "failed to read header",
    "parsing age header",
    "bad header MAC",
)
_OPENSSL_DAMAGED = ("bad magic number", "wrong final block length", "error reading input file")


class Scheme(Protocol):
    """A way to encrypt files."""

    @property
    def name(self) -> SchemeName:
        """As in the configuration and the manifest."""

    @property
    def suffix(self) -> str:
        """What the name of an encrypted file ends in."""

    @property
    def readers(self) -> tuple[str, ...]:
        """The public keys whose owners can read what it encrypts; none for a password."""

    def encrypt(self, source: Path, target: Path) -> tuple[int, str]:
        """Encrypt a file; returns size and SHA-256 of the result, hashed while it was written.

        Raises:
            DiskFullError: no space left for the result.
            ProcessError: the program failed.
        """

    def decrypting(self, source: Path) -> contextlib.AbstractContextManager[io.RawIOBase]:
        """The plaintext of a file, as a raw stream. Its last read tells whether the file was whole; who leaves the
        block before that does not want to know.

        Raises:
            WrongKeyError: the key or password does not open it.
            IntegrityError: it is damaged or cut off.
        """

    def check_can_open(self, source: Path) -> None:
        """Decrypt the beginning of a file to see that the key at hand opens it.

        Raises:
            WrongKeyError: it does not.
            IntegrityError: the file's beginning is damaged.
        """


@dataclass(frozen=True)
class AgeScheme:
    """X25519 through the `age` program."""

    recipients: tuple[str, ...]
    identity_files: tuple[Path, ...] = ()
    name: Literal["age"] = "age"
    suffix: str = ".age"

    @property
    def readers(self) -> tuple[str, ...]:
        """The recipients."""
        return self.recipients

    def encrypt(self, source: Path, target: Path) -> tuple[int, str]:
        """Encrypt to all recipients: each of them alone can read it."""
        to = [argument for recipient in self.recipients for argument in ("--recipient", recipient)]
        return run_filter([find_program("age", "age"), "--encrypt", *to], source, target)

    @contextlib.contextmanager
    def decrypting(self, source: Path) -> Iterator[io.RawIOBase]:
        """The plaintext, each 64 KiB of it authenticated before it comes."""
        if not self.identity_files:
            raise WrongKeyError(
                f"There is no key to open {source} with: name the identity file in `encryption.identity_files`, on the "
                "machine that restores."
            )
        for file in self.identity_files:
            if not os.access(file, os.R_OK):
                raise PermanentError(f"The identity file {file} can't be read: correct its path or permissions.")
        files = [argument for file in self.identity_files for argument in ("--identity", str(file))]
        with decrypted([find_program("age", "age"), "--decrypt", *files], source, self._explained) as reader:
            yield reader

    def check_can_open(self, source: Path) -> None:
        """Unwrap the file's key and decrypt its first chunk."""
        first_bytes(self, source, 1)

    def _explained(self, error: ProcessError, source: Path) -> Exception:
        if "no identity matched" in error.stderr:
            names = ", ".join(map(str, self.identity_files))
            return WrongKeyError(
                f"No key in {names} opens {source}: put the identity of one of the set's recipients there."
            )
        if any(words in error.stderr for words in _AGE_DAMAGED):
            return IntegrityError(f"{source} is damaged or cut off, age says: {_first_line(error)}")
        if 'error: reading "' in error.stderr:
            return PermanentError(f"An identity file can't be used, age says: {_first_line(error)}")
        return error


@dataclass(frozen=True)
class OpensslScheme:
    """AES-256-CBC by password (PBKDF2) through the `openssl` program."""

    password: str = field(repr=False)
    name: Literal["openssl"] = "openssl"
    suffix: str = ".enc"
    readers: tuple[str, ...] = ()

    def encrypt(self, source: Path, target: Path) -> tuple[int, str]:
        """Encrypt by the password."""
        with self._program() as (argv, fd):
            return run_filter([*argv, "-e"], source, target, (fd,))

    @contextlib.contextmanager
    def decrypting(self, source: Path) -> Iterator[io.RawIOBase]:
        """The plaintext; that the password was wrong may show only at the end."""
        with self._program() as (argv, fd), decrypted([*argv, "-d"], source, self._explained, (fd,)) as reader:
            yield reader

    def check_can_open(self, source: Path) -> None:
        """Decrypt the first block: nothing but the compressed data's own mark shows that the password was right."""
        if first_bytes(self, source, len(_ZSTD_MAGIC)) != _ZSTD_MAGIC:
            raise self._wrong_password(source)

    @contextlib.contextmanager
    def _program(self) -> Iterator[tuple[list[str], int]]:
        with secret_fd(self.password.encode() + b"\n") as fd:
            program = find_program("openssl", "openssl")
            yield [program, "enc", "-aes-256-cbc", "-pbkdf2", "-iter", str(ITERATIONS), "-pass", f"fd:{fd}"], fd

    def _wrong_password(self, source: Path) -> WrongKeyError:
        return WrongKeyError(
            f"The password does not open {source}: set the one that it was made with in the connection that "
            "`encryption.password_connection` names."
        )

    def _explained(self, error: ProcessError, source: Path) -> Exception:
        if any(words in error.stderr for words in _OPENSSL_DAMAGED):  # may say "bad decrypt" too
            return IntegrityError(f"{source} is damaged or cut off, openssl says: {error.stderr.strip()}")
        if "bad decrypt" in error.stderr:
            return self._wrong_password(source)
        return error


def scheme_for(settings: Settings, connections: Connections, name: SchemeName | None = None) -> Scheme:
    """The scheme that the configuration names, or, to read a set, the one that its manifest names.

    Those that only single components have are `schemes.py`'s.

    Raises:
        SettingsError: the password's connection is unknown or can't be used.
    """
    encryption = settings.encryption
    if (name or encryption.scheme) == "age":
        return AgeScheme(encryption.recipients, encryption.identity_files)
    password = connections.secret(encryption.password_connection)
    if "\n" in password or "\r" in password:
        raise SettingsError(
            f"The password in the connection {encryption.password_connection} has a line break, after which openssl "
            "would stop reading: choose one without."
        )
    return OpensslScheme(password)


def _first_line(error: ProcessError) -> str:
    return error.stderr.partition("\n")[0][:200]  # age quotes what it read, which may be long


def run_filter(argv: Sequence[str], source: Path, target: Path, pass_fds: tuple[int, ...] = ()) -> tuple[int, str]:
    """Run a filter from file to file: size and SHA-256 of what it wrote."""
    size, digest = 0, hashlib.sha256()
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with (
        written_aside(target) as out,
        source.open("rb") as plain,
        Child(argv, stdin=plain, pass_fds=pass_fds) as child,
    ):
        while count := child.readinto(buffer):
            digest.update(buffer[:count])
            write_all(out, buffer[:count])
            size += count
        child.finish()
    return size, digest.hexdigest()


class _Plaintext(io.RawIOBase):
    """The output of a program; at its end the program's exit status decides between the end and an error."""

    def __init__(self, child: Child, explained: Callable[[ProcessError], Exception]) -> None:
        super().__init__()
        self._child = child
        self._explained = explained
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        if self._ended:
            return 0
        if count := self._child.readinto(memoryview(buffer).cast("B")):
            return count
        self._ended = True
        try:
            self._child.finish()
        except ProcessError as error:
            raise self._explained(error) from error
        return 0


@contextlib.contextmanager
def decrypted(
    argv: Sequence[str], source: Path, explained: Callable[[ProcessError, Path], Exception], fds: tuple[int, ...] = ()
) -> Iterator[io.RawIOBase]:
    """The output of a program that decrypts a file; `explained` makes an error of ours of its failure."""
    try:
        sealed = source.open("rb")
    except FileNotFoundError as error:
        raise IntegrityError(f"{source} is not there: fetch the set again.") from error
    with sealed, Child(argv, stdin=sealed, pass_fds=fds) as child:
        yield _Plaintext(child, lambda error: explained(error, source))


def first_bytes(scheme: Scheme, source: Path, wanted: int) -> bytes:
    """The beginning of a file's plaintext."""
    with scheme.decrypting(source) as plaintext:
        return io.BufferedReader(plaintext, wanted).read(wanted)


def sign(content: bytes, private_key_file: Path) -> bytes:
    """The Ed25519 signature of some bytes: 64 raw bytes, which `openssl pkeyutl -verify -rawin` takes too.

    Raises:
        PermanentError: the key can't be read.
    """
    return _private_key(private_key_file).sign(content)


def verify_signature(content: bytes, signature: bytes, public_key_files: Sequence[Path], where: str) -> None:
    """See that one of the keys signed these bytes.

    Raises:
        IntegrityError: none did; `where` names what was signed.
        PermanentError: a key can't be read.
    """
    keys = {file: _public_key(file) for file in public_key_files}
    for key in keys.values():
        with contextlib.suppress(InvalidSignature):
            key.verify(signature, content)
            return
    known = ", ".join(f"{file} ({_fingerprint(key)})" for file, key in keys.items())
    raise IntegrityError(
        f"{where} is not signed by any key in `signing.public_key_files` ({known}): it was changed, or another key "
        "wrote it. Restore another set, or, if you know whose key it was, add its public half."
    )


def generate_signing_key(private: Path, public: Path) -> None:
    """Make an Ed25519 pair as PEM files, the private one readable by its owner only.

    Raises:
        PermanentError: one of the files exists; a key is never overwritten.
    """
    key = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_new(private, secret, 0o600)
    _write_new(public, key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo), 0o644)


def key_fingerprint(public_key_file: Path) -> str:
    """A public key's short name for people: 16 hexadecimal digits of the SHA-256 of its 32 bytes.

    Raises:
        PermanentError: the key can't be read.
    """
    return _fingerprint(_public_key(public_key_file))


def signs_for(private_key_file: Path, public_key_files: Sequence[Path]) -> bool:
    """Whether what the private key signs is accepted by the public ones.

    Raises:
        PermanentError: a key can't be read.
    """
    mine = _fingerprint(_private_key(private_key_file).public_key())
    return mine in {key_fingerprint(file) for file in public_key_files}


def _fingerprint(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
    except FileExistsError as error:
        raise PermanentError(f"{path} exists already: move it away, or make the new key elsewhere.") from error
    except OSError as error:
        raise PermanentError(
            f"{path} can't be written ({error.strerror}): make its folder, writable for you."
        ) from error


def _read_key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PermanentError(
            f"The key {path} can't be read ({error.strerror}): correct `signing` or permissions."
        ) from error


def _private_key(path: Path) -> Ed25519PrivateKey:
    content = _read_key(path)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise PermanentError(f"{path} is no private Ed25519 key in PEM: make one with `spoqplus-backup keys generate`.")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    content = _read_key(path)
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise PermanentError(f"{path} is no public Ed25519 key in PEM: copy the .pub file of the pair again.")
    return key
