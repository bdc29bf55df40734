"""A site with a DR region, as a test needs it."""

from pathlib import Path
from typing import Any

import yaml

from spoqplus_backup.core.settings import Settings, load_settings

REPLICA = "spoqplus-dr-replica"


def dr_settings_of(folder: Path, **dr: Any) -> Settings:
    """The settings of a site that fails over; `dr` goes over the section of that name."""
    content = {
        "staging": {"directory": str(folder / "staging")},
        "encryption": {"scheme": "openssl"},
        "signing": {"public_key_files": ["signing.pub"]},
        "repositories": [
            {"name": "local", "root": f"file://{folder}/local"},
            {"name": "dr", "root": f"file://{folder}/dr", "role": "replica"},
        ],
        "slack": {"connection": None},
        "dr": {"database": {"replica": REPLICA}} | dr,
    }
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_settings(path)
