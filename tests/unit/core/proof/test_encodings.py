"""What a face encoding may be."""

import json
import struct

import pytest

from spoqplus_backup.core.proof.checks.faces import decode

NUMBERS = [0.5, -0.25, 3.0, 0.0]


@pytest.mark.parametrize(
    "encoding",
    [
        json.dumps(NUMBERS),
        json.dumps(NUMBERS).encode(),
        b" [0.5, -0.25, 3, 0]",
        struct.pack("<4f", *NUMBERS),
        struct.pack("<4d", *NUMBERS),
    ],
)
def test_arrays_and_packed_floats(encoding: object) -> None:
    assert decode(encoding, 4) == NUMBERS


def test_packed_floats_that_begin_like_an_array() -> None:
    packed = b"[" + bytes(15)
    assert decode(packed, 4) == list(struct.unpack("<4f", packed))


@pytest.mark.parametrize(
    "encoding",
    ["", "[0.5, -0.2", "null", '{"a": 1}', "[true]", '["0.5"]', "[[0.5]]", b"", bytes(15), bytes(17), None, 7],
)
def test_what_is_neither(encoding: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (json's or ours)
        decode(encoding, 4)
