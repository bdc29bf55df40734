"""Reads a component's index: the encrypted object beside the parts that says what lies where."""

import hashlib
from pathlib import Path

from pydantic import ValidationError

from spoqplus_backup.core.crypto import Scheme
from spoqplus_backup.core.errors import IntegrityError
from spoqplus_backup.core.manifest import Component, Index, Manifest
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.sealed import unsealed


def index_path(directory: Path, component: Component) -> Path:
    """Where a fetched index lies, encrypted."""
    return directory / component.name / component.index.name


def read_index(
    repository: Repository, manifest: Manifest, component: Component, scheme: Scheme, directory: Path
) -> Index:
    """Fetch, prove and open an index.

    Raises:
        WrongKeyError: the key at hand does not open it.
        IntegrityError: it is not what the manifest says.
    """
    path = index_path(directory, component)
    part = component.index
    key = f"{manifest.name}/{component.name}/{part.name}"
    repository.get(key, path, part.sha256, part.stored_bytes)
    return open_index(path, component, scheme)


def open_index(path: Path, component: Component, scheme: Scheme) -> Index:
    """Open a fetched index.

    Raises:
        WrongKeyError: the key at hand does not open it.
        IntegrityError: it does not hold what the manifest says.
    """
    content = bytearray()
    with unsealed(path, scheme) as reader:
        while block := reader.read(1 << 20):
            content += block
    if hashlib.sha256(content).hexdigest() != component.index.raw_sha256:
        raise IntegrityError(f"The index {path} does not hold what the manifest says: restore from another repository.")
    try:
        return Index.model_validate_json(bytes(content))
    except ValidationError as error:
        raise IntegrityError(f"The index {path} can't be read ({error.error_count()} faults).") from error
