"""Encryption by the real programs: what goes in comes out, and whatever else is refused by name."""

import hashlib
import io
import os
import subprocess
import threading
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from spoqplus_backup.core import crypto, process
from spoqplus_backup.core.crypto import AgeScheme, OpensslScheme, Scheme
from spoqplus_backup.core.errors import IntegrityError, PermanentError, WrongKeyError
from support.keys import age_pair, signing_pair
from support.servers import wait_until

PASSWORD = "pä ss'w\"ord$1"


@pytest.fixture
def compressed(tmp_path: Path) -> Path:
    """A compressed part of some megabytes: what is encrypted in earnest."""
    path = tmp_path / "000001.sql.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(os.urandom(3 << 20) + b"x" * 1000))
    return path


@pytest.fixture(params=["age", "openssl"])
def scheme(request: pytest.FixtureRequest, tmp_path: Path) -> Scheme:
    if request.param == "openssl":
        return OpensslScheme(PASSWORD)
    pair = age_pair(tmp_path)
    return AgeScheme((pair.recipient,), (pair.identity_file,))


def other_key(scheme: Scheme, folder: Path) -> Scheme:
    if scheme.name == "openssl":
        return OpensslScheme("another password")
    return AgeScheme((), (age_pair(folder, "other").identity_file,))


def sealed(scheme: Scheme, source: Path) -> Path:
    target = source.with_name(source.name + scheme.suffix)
    scheme.encrypt(source, target)
    return target


def plaintext(scheme: Scheme, source: Path) -> bytes:
    with scheme.decrypting(source) as reader:
        return io.BufferedReader(reader).read()


def test_what_was_encrypted_comes_back(scheme: Scheme, compressed: Path) -> None:
    target = compressed.with_name("sealed")

    size, digest = scheme.encrypt(compressed, target)

    content = target.read_bytes()
    assert (size, digest) == (len(content), hashlib.sha256(content).hexdigest())
    assert compressed.read_bytes()[100:200] not in content
    assert plaintext(scheme, target) == compressed.read_bytes()
    scheme.check_can_open(target)


def test_every_recipient_alone_can_read(tmp_path: Path, compressed: Path) -> None:
    pairs = [age_pair(tmp_path, name) for name in ("office", "safe")]
    target = sealed(AgeScheme(tuple(pair.recipient for pair in pairs)), compressed)

    for pair in pairs:
        assert plaintext(AgeScheme((), (pair.identity_file,)), target) == compressed.read_bytes()


def test_a_person_with_a_shell_can_read_it(scheme: Scheme, compressed: Path, tmp_path: Path) -> None:
    target = sealed(scheme, compressed)
    if scheme.name == "age":
        command = ["age", "-d", "-i", tmp_path / "identity.txt", target]
    else:
        (tmp_path / "password").write_text(PASSWORD)
        options = ["-aes-256-cbc", "-pbkdf2", "-iter", "600000", "-pass", f"file:{tmp_path / 'password'}"]
        command = ["openssl", "enc", "-d", *options, "-in", target]

    assert subprocess.run(command, check=True, capture_output=True).stdout == compressed.read_bytes()


def test_a_wrong_key_is_refused_with_the_files_name(scheme: Scheme, compressed: Path, tmp_path: Path) -> None:
    target = sealed(scheme, compressed)
    wrong = other_key(scheme, tmp_path)

    with pytest.raises(WrongKeyError, match=target.name):
        wrong.check_can_open(target)


def test_a_wrong_age_key_gives_not_one_byte(compressed: Path, tmp_path: Path) -> None:
    target = sealed(AgeScheme((age_pair(tmp_path).recipient,)), compressed)

    with pytest.raises(WrongKeyError, match=r"other\.txt.*put the identity"):
        plaintext(AgeScheme((), (age_pair(tmp_path, "other").identity_file,)), target)


def test_a_wrong_openssl_password_never_gives_the_content(compressed: Path) -> None:
    target = sealed(OpensslScheme(PASSWORD), compressed)

    wrong = []
    for number in range(8):  # one in 256 wrong passwords gives a right padding by chance
        try:
            assert plaintext(OpensslScheme(f"wrong {number}"), target) != compressed.read_bytes()
        except WrongKeyError as error:
            wrong.append(str(error))
    assert len(wrong) >= 6
    assert all("password_connection" in message for message in wrong)


def test_without_an_identity_file_the_remedy_is_named(compressed: Path, tmp_path: Path) -> None:
    write_only = AgeScheme((age_pair(tmp_path).recipient,))
    target = sealed(write_only, compressed)

    with pytest.raises(WrongKeyError, match=r"encryption\.identity_files"):
        write_only.check_can_open(target)


def test_an_identity_file_that_is_none(compressed: Path, tmp_path: Path) -> None:
    target = sealed(AgeScheme((age_pair(tmp_path).recipient,)), compressed)
    (tmp_path / "nonsense.txt").write_text("hello\n")

    with pytest.raises(PermanentError, match=r"identity file.*nonsense\.txt"):
        AgeScheme((), (tmp_path / "nonsense.txt",)).check_can_open(target)
    with pytest.raises(PermanentError, match=r"absent\.txt can't be read"):
        AgeScheme((), (tmp_path / "absent.txt",)).check_can_open(target)


@pytest.mark.parametrize("position", [5, 130, 200, 1_000_000, -1])
def test_a_flipped_byte_is_found(compressed: Path, tmp_path: Path, position: int) -> None:
    pair = age_pair(tmp_path)
    scheme = AgeScheme((pair.recipient,), (pair.identity_file,))
    target = sealed(scheme, compressed)
    content = bytearray(target.read_bytes())
    content[position] ^= 1
    target.write_bytes(content)

    with pytest.raises(IntegrityError, match=f"{target.name} is damaged"):
        plaintext(scheme, target)


@pytest.mark.parametrize("length", [0, 30, 250, 1_000_003])
def test_a_truncated_file_is_found(scheme: Scheme, compressed: Path, length: int) -> None:
    target = sealed(scheme, compressed)
    os.truncate(target, length)

    with pytest.raises(IntegrityError, match=f"{target.name} is damaged or cut off"):
        plaintext(scheme, target)


def test_a_missing_file_is_named(scheme: Scheme, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"gone\.age is not there"):
        plaintext(scheme, tmp_path / "gone.age")


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> set[process.Child]:
    """The programs that this test has started; those of the whole session, the servers, stay out of it."""
    mine: set[process.Child] = set()
    monkeypatch.setattr(process, "_running", mine)
    return mine


def test_leaving_early_ends_the_program_without_a_complaint(
    scheme: Scheme, compressed: Path, children: set[process.Child]
) -> None:
    target = sealed(scheme, compressed)

    with scheme.decrypting(target) as reader:
        assert len(reader.read(10)) == 10

    assert not children


def test_a_failed_encryption_leaves_nothing(scheme: Scheme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("age", "openssl"):
        (programs / name).write_text("#!/bin/sh\necho half; echo out of luck >&2; exit 3\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    source = tmp_path / "source"
    source.write_bytes(b"content")

    with pytest.raises(process.ProcessError, match=r"exit status 3: out of luck"):
        scheme.encrypt(source, tmp_path / "out" / "target")

    assert not list((tmp_path / "out").iterdir())


def test_memory_does_not_grow_with_the_file(scheme: Scheme, tmp_path: Path) -> None:
    source, target = tmp_path / "large", tmp_path / "sealed"
    source.touch()
    os.truncate(source, 64 << 20)

    tracemalloc.start()
    try:
        scheme.encrypt(source, target)
        with scheme.decrypting(target) as reader:
            assert sum(iter(lambda: len(reader.read(1 << 20)), 0)) == 64 << 20
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 8 << 20


def test_secrets_are_nowhere_to_be_seen(tmp_path: Path, children: set[process.Child]) -> None:
    """Neither in the arguments nor in the environment of the program while it runs, nor in what Python shows."""
    scheme = OpensslScheme(PASSWORD)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    worker = threading.Thread(target=scheme.encrypt, args=(fifo, tmp_path / "target"))
    worker.start()
    with fifo.open("wb") as feed:  # openssl waits for its input, and can be looked at
        wait_until(lambda: any(b"enc" in arguments_of(child.pid) for child in children), 10, "openssl")
        (child,) = children
        seen = arguments_of(child.pid) + Path(f"/proc/{child.pid}/environ").read_bytes()
        listed = subprocess.run(["ps", "auxeww"], check=True, capture_output=True).stdout
        feed.write(b"content")
    worker.join()

    assert b"aes-256-cbc" in seen
    assert PASSWORD.encode() not in seen + listed
    assert PASSWORD not in repr(scheme)


def arguments_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_signature_holds_for_exactly_what_was_signed(tmp_path: Path) -> None:
    pair = signing_pair(tmp_path)
    signature = crypto.sign(b"manifest", pair.private)

    crypto.verify_signature(b"manifest", signature, [pair.public], "daily/x")
    for content, forged in ((b"Manifest", signature), (b"manifest", signature[::-1]), (b"manifest", b"")):
        with pytest.raises(
            IntegrityError, match=r"daily/x is not signed by any key in .*signing\.pub \([0-9a-f]{16}\)"
        ):
            crypto.verify_signature(content, forged, [pair.public], "daily/x")


def test_signatures_of_an_earlier_key_stay_good(tmp_path: Path) -> None:
    old, new = signing_pair(tmp_path, "old"), signing_pair(tmp_path, "new")
    signature = crypto.sign(b"manifest", old.private)

    crypto.verify_signature(b"manifest", signature, [new.public, old.public], "daily/x")
    assert crypto.signs_for(old.private, [new.public, old.public])
    assert not crypto.signs_for(old.private, [new.public])
    with pytest.raises(IntegrityError):
        crypto.verify_signature(b"manifest", signature, [new.public], "daily/x")


def test_openssl_can_check_a_signature(tmp_path: Path) -> None:
    pair = signing_pair(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"manifest")
    (tmp_path / "manifest.json.sig").write_bytes(crypto.sign(b"manifest", pair.private))

    subprocess.run(
        ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", pair.public, "-rawin", "-in", tmp_path / "manifest.json",
         "-sigfile", tmp_path / "manifest.json.sig"],
        check=True, capture_output=True,
    )  # fmt: skip


def test_signing_keys_are_private_and_never_overwritten(tmp_path: Path) -> None:
    pair = signing_pair(tmp_path)
    before = pair.private.read_bytes()

    assert pair.private.stat().st_mode & 0o777 == 0o600
    with pytest.raises(PermanentError, match=r"signing\.key exists already"):
        signing_pair(tmp_path)
    assert pair.private.read_bytes() == before


def test_what_is_no_signing_key_is_named(tmp_path: Path) -> None:
    pair = signing_pair(tmp_path)
    with pytest.raises(PermanentError, match=r"signing\.pub is no private Ed25519 key"):
        crypto.sign(b"", pair.public)
    with pytest.raises(PermanentError, match=r"signing\.key is no public Ed25519 key") as caught:
        crypto.verify_signature(b"", b"", [pair.private], "x")
    assert pair.private.read_text().splitlines()[1] not in str(caught.value)
    with pytest.raises(PermanentError, match=r"absent\.key can't be read"):
        crypto.sign(b"", tmp_path / "absent.key")
