"""The text form of age's public keys (X25519 recipients): Bech32, so that a mistyped key is found before it is used."""

_CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_PREFIX = "age"
_LENGTH = 62  # "age1", 52 characters of key, 6 of checksum
PRIVATE_PREFIX = "AGE-SECRET-KEY-"


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum


def is_recipient(text: str) -> bool:
    """Whether this is the public key of an age key pair, with its checksum right (BIP 173)."""
    prefix, _, data = text.partition("1")
    if prefix != _PREFIX or len(text) != _LENGTH or not set(data) <= set(_CHARACTERS):
        return False
    expanded = [ord(character) >> 5 for character in prefix] + [0] + [ord(character) & 31 for character in prefix]
    return _polymod(expanded + [_CHARACTERS.index(character) for character in data]) == 1
