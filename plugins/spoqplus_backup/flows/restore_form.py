"""The restore's trigger form: sections, drop-downs and help in the site's language.

The UI and the REST API check only types and enumerations, and the API takes extra keys: the plan task validates all of
it again.
"""

from typing import Any

from airflow.sdk import Param

from spoqplus_backup.core.mysql.statements import KINDS
from spoqplus_backup.core.run import component_names
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.messages import component_label, text


def restore_params(settings: Settings) -> dict[str, Param]:
    """The parameters of a site's restore."""
    language = settings.language

    def param(name: str, section: str | None, default: object, **schema: Any) -> Param:
        return Param(
            default,
            title=text(language, f"form.{name}"),
            description_md=text(language, f"form.{name}.help", zone=settings.timezone),
            section=text(language, f"form.section.{section}") if section else None,
            **schema,
        )

    components = component_names(settings)
    repositories = [repository.name for repository in settings.repositories]
    return {
        # without a section: the part of the form that is open from the start
        "environment": param(
            "environment",
            None,
            "test",
            type="string",
            enum=["test", "production"],
            values_display={name: text(language, f"form.environment.{name}") for name in ("test", "production")},
        ),
        "backup": param("backup", None, "latest", type="string", minLength=1),
        "dry_run": param("dry_run", None, False, type="boolean"),
        "safety_backup": param("safety_backup", None, True, type="boolean"),
        "components": param(
            "components",
            "what",
            ["database"],
            type=["array", "null"],
            items={"type": "string"},
            examples=list(components),
            values_display={name: component_label(language, name) for name in components},
        ),
        "tables": param("tables", "what", [], type=["array", "null"], items={"type": "string"}),
        "paths": param("paths", "files", [], type=["array", "null"], items={"type": "string"}),
        "target_root": param("target_root", "files", None, type=["null", "string"]),
        "to_time": param("to_time", "point", None, type=["null", "string"]),
        "to_gtid": param("to_gtid", "point", None, type=["null", "string"]),
        "before_gtid": param("before_gtid", "point", None, type=["null", "string"]),
        "find_tables": param("find_tables", "find", [], type=["array", "null"], items={"type": "string"}),
        "find_kinds": param(
            "find_kinds", "find", [], type=["array", "null"], items={"type": "string"}, examples=list(KINDS)
        ),
        "find_since": param("find_since", "find", None, type=["null", "string"]),
        "rebuild": param("rebuild", "rebuild", False, type="boolean"),
        "repository": param(
            "repository",
            "where",
            None,
            type=["null", "string"],
            enum=[None, *repositories],
            values_display={"null": text(language, "form.repository.any")} | {name: name for name in repositories},
        ),
        "into_schema": param("into_schema", "where", None, type=["null", "string"], maxLength=64),
    }
