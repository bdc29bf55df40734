"""Types of settings' fields that several models share."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path())
    return Path(folder, path.expanduser())


FilePath = Annotated[Path, AfterValidator(_beside_the_file)]  # a relative one is beside the configuration file
GroupName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]  # a task group's id, and a folder's name
Text = Annotated[str, Field(min_length=1)]
