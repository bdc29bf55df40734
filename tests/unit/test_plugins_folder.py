"""Airflow executes only the registration file of the plugins folder (see plugins/.airflowignore)."""

import shutil
from pathlib import Path

from airflow._shared.module_loading import find_path_from_directory

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def test_only_the_registration_file_is_a_plugin(tmp_path: Path) -> None:
    shutil.copy(PLUGINS / ".airflowignore", tmp_path)
    for name in ("spoqplus_plugin.py", "other.py", "spoqplus_backup/core/process.py", "spoqplus_backup/hooks.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [Path(path) for path in find_path_from_directory(tmp_path, ".airflowignore", "glob")]
    assert [path.name for path in found if path.suffix == ".py"] == ["spoqplus_plugin.py"]
