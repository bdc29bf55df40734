"""A site's file for tests that need no server: its keys, staging area and one local repository in a folder."""

from pathlib import Path
from typing import Any

import yaml

from support.keys import AgePair, SigningPair, age_pair, signing_pair

# What a site of a test does not back up, unless it says so.
WITHOUT_FILES: dict[str, Any] = {"files": [], "faces": None, "mirror": None, "config_git": None, "environment": None}


def site_content(directory: Path, **fields: Any) -> dict[str, Any]:
    """The fields of a site; `fields` go over the rest."""
    directory.mkdir(parents=True, exist_ok=True)
    first, second = _age_pair(directory, "first"), _age_pair(directory, "second")
    signing = SigningPair(directory / "signing.key", directory / "signing.pub")
    if not signing.private.exists():
        signing_pair(directory)
    return {
        "site": "spoqplus",
        "components": [],
        "staging": {"directory": str(directory / "staging")},
        "repositories": [{"name": "local", "root": f"file://{directory}/repository"}],
        "encryption": {
            "recipients": [first.recipient, second.recipient],
            "identity_files": [str(first.identity_file)],
        },
        "signing": {"private_key_file": str(signing.private), "public_key_files": [str(signing.public)]},
        "slack": {"connection": None},
        "alerts": {"minimum_backup_bytes": 0},
        **WITHOUT_FILES,
        **fields,
    }


def write_site(directory: Path, **fields: Any) -> Path:
    """Write the file of a site; keys that are there already stay."""
    path = directory / "site.yaml"
    path.write_text(yaml.safe_dump(site_content(directory, **fields), allow_unicode=True))
    return path


def _age_pair(directory: Path, name: str) -> AgePair:
    """A pair that is made once: a site's file may be written again with other fields."""
    public = directory / f"{name}.recipient"
    if not public.exists():
        public.write_text(age_pair(directory, name).recipient)
    return AgePair(public.read_text(), directory / f"{name}.txt")
