"""What tar says on stderr becomes a few sentences, however much it says."""

from spoqplus_backup.core.files.complaints import Complaints


def sentences(*chunks: bytes) -> list[str]:
    complaints = Complaints()
    for chunk in chunks:
        complaints.feed(chunk)
    return [notice.words for notice in complaints.notices("uploads")]


def test_nothing_said() -> None:
    assert sentences() == []


def test_changed_and_vanished_files_are_counted_and_named() -> None:
    assert sentences(
        b"/usr/bin/tar: var/www/a: file changed as we read it\ntar: var/www/b: File remo",
        b"ved before we read it\ntar: var/www/c: File shrank by 5 bytes; padding with zeros\n",
    ) == [
        "uploads: 2 files changed while they were read: var/www/a, var/www/c.",
        "uploads: 1 files vanished before they were read: var/www/b.",
    ]


def test_only_the_first_are_named() -> None:
    (sentence,) = sentences(*(b"tar: %d: file changed as we read it\n" % number for number in range(5000)))
    assert sentence.startswith("uploads: 5000 files changed while they were read: 0, 1, 2,")
    assert sentence.endswith(" 9 (+4990).")


def test_what_is_unknown_is_repeated() -> None:
    assert sentences(b"tar: something new\ntar: x: socket ignored\n") == ["uploads: tar says: something new"]


def test_a_refusal_is_noted() -> None:
    complaints = Complaints()
    assert not complaints.denied
    complaints.feed(b"tar: secret: Cannot open: Permission denied\n")
    assert complaints.denied
