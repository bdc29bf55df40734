"""Writes docs/DAGS.md, the catalogue of the DAGs, from the DAG files themselves; --check fails when it is stale."""

import argparse
import difflib
import inspect
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from airflow.sdk import DAG, Param, TaskGroup

ROOT = Path(__file__).resolve().parent.parent
# The public half of a key pair that was thrown away.
STAND_IN_RECIPIENT = "age1ymxyng7j0w4d88k3ql9rxtjvdf6c9yk7ahlkhftpxheasrr0j4eshggk8g"
HEADER = """\
# The DAGs

Generated from the DAG files by `make docs`; `make lint` fails when this page differs from them. Do not edit it.
"""


def main() -> int:
    """Returns the exit status: 0 written or up to date, 1 stale or a DAG file can't be imported."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, exit with 1 when the page is stale")
    parser.add_argument("--dags", type=Path, default=ROOT / "dags", help="folder of the DAG files")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "DAGS.md")
    options = parser.parse_args()

    dags, errors = load(options.dags)
    for file, error in sorted(errors.items()):
        print(f"{file} can't be imported, so it can't be documented:\n{error}", file=sys.stderr)
    if errors:
        return 1
    page = catalogue(dags, options.dags)
    if options.check:
        return check(page, options.output)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page, encoding="utf-8")
    print(f"Wrote {len(dags)} DAGs to {options.output}")
    return 0


def check(page: str, output: Path) -> int:
    present = output.read_text(encoding="utf-8") if output.exists() else ""
    if present == page:
        return 0
    sys.stderr.writelines(
        difflib.unified_diff(present.splitlines(True), page.splitlines(True), f"{output}", "from the DAG files")
    )
    print(f"{output} is not what the DAG files say. Run `make docs` and commit it.", file=sys.stderr)
    return 1


def load(folder: Path) -> tuple[list["DAG"], dict[str, str]]:
    """Imports the DAG files in a private Airflow, whatever this machine's own is like; returns DAGs and errors."""
    for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "SPOQPLUS_"))]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="dag-docs-") as home:
        os.environ |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder.resolve()),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "SPOQPLUS_BACKUP_CONFIG": str(documented_site(Path(home))),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",  # import errors are ours to print
        }
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(dag_folder=folder.resolve(), load_op_links=False)
        return [bag.dags[name] for name in sorted(bag.dags)], dict(bag.import_errors)


def documented_site(folder: Path) -> Path:
    """The configuration as it comes with the project, with the one field that a site must fill in."""
    settings = yaml.safe_load((ROOT / "include" / "config" / "spoqplus.yaml").read_text(encoding="utf-8"))
    settings["encryption"]["recipients"] = [STAND_IN_RECIPIENT]
    path = folder / "spoqplus.yaml"
    path.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return path


def catalogue(dags: list["DAG"], folder: Path) -> str:
    index = [f"- [`{dag.dag_id}`](#{dag.dag_id}): {schedule(dag)}" for dag in dags] or ["There are none yet."]
    pages = ["\n".join(describe(dag, folder)) for dag in dags]
    return "\n".join([HEADER, *index, *pages]).rstrip() + "\n"


def describe(dag: "DAG", folder: Path) -> Iterator[str]:
    owners = sorted({task.owner for task in dag.tasks})
    yield from ("", f"## {dag.dag_id}", "")
    yield from table(
        ["Schedule", "Owner", "Tags", "Runs at once", "File"],
        [
            [
                schedule(dag),
                ", ".join(owners),
                ", ".join(f"`{tag}`" for tag in sorted(dag.tags)),
                str(dag.max_active_runs),
                f"`dags/{Path(dag.fileloc).relative_to(folder.resolve())}`",
            ]
        ],
    )
    yield from ("", demoted(dag.doc_md or dag.description or "Not documented."))
    if dag.params:
        yield from ("", "### Parameters", "")
        yield from table(
            ["Name", "Type", "Default", "Choices", "Meaning"],
            [parameter(name, dag.params.get_param(name)) for name in dag.params],
        )
    yield from ("", "### Tasks", "", *tasks(dag.task_group))


def schedule(dag: "DAG") -> str:
    from airflow.sdk.definitions.timetables.simple import NullTimetable

    timetable: Any = dag.timetable
    if isinstance(timetable, NullTimetable):
        return "by hand"
    if hasattr(timetable, "expression"):
        return f"`{timetable.expression}` ({getattr(timetable.timezone, 'name', timetable.timezone)})"
    if timetable.asset_condition is not None:
        return "when updated: " + ", ".join(f"`{name}`" for name in sorted(asset_names(timetable.asset_condition)))
    return f"`{type(timetable).__name__}`"


def asset_names(condition: Any) -> Iterator[str]:
    if not hasattr(condition, "objects"):
        yield condition.name
        return
    for part in condition.objects:
        yield from asset_names(part)


def demoted(markdown: str) -> str:
    """Puts a DAG's own headings below the DAG's heading in this page, the highest of them as `###`."""
    lines = inspect.cleandoc(markdown).splitlines()
    headings, fenced = {}, False
    for number, line in enumerate(lines):
        fenced ^= line.lstrip().startswith("```")
        if heading := re.match(r"#+(?= )", line if not fenced else ""):
            headings[number] = len(heading[0])
    for number, level in headings.items():
        lines[number] = "#" * (level - min(headings.values()) + 3) + lines[number][level:]
    return "\n".join(lines)


def parameter(name: str, param: "Param") -> list[str]:
    from airflow.sdk.definitions._internal.types import NOTSET

    types = param.schema.get("type", "any")
    kind = " or ".join(types) if isinstance(types, list) else types
    if "format" in param.schema:
        kind += f" ({param.schema['format']})"
    default = "must be given" if param.value is NOTSET else f"`{json.dumps(param.value, ensure_ascii=False)}`"
    offered = param.schema.get("enum") or param.schema.get("examples") or []
    choices = ", ".join(f"`{json.dumps(choice, ensure_ascii=False)}`" for choice in offered)
    description = param.description or param.schema.get("description_md")
    meaning = ": ".join(text for text in (param.schema.get("title"), description) if text)
    return [f"`{name}`", kind, default, choices, meaning]


def tasks(group: "TaskGroup", depth: int = 0) -> Iterator[str]:
    """Every task in running order, one line each, with its task group's tasks indented below the group."""
    from airflow.sdk import TaskGroup

    node: Any
    for node in group.topological_sort():
        if isinstance(node, TaskGroup):
            yield "  " * depth + f"- **`{node.node_id}`**" + (f": {node.tooltip}" if node.tooltip else "")
            yield from tasks(node, depth + 1)
        else:
            yield "  " * depth + f"- {task_line(node)}"


def task_line(task: Any) -> str:
    details = [task.operator_name]
    if task.upstream_task_ids:
        details.append("after " + ", ".join(f"`{name}`" for name in sorted(task.upstream_task_ids)))
    if task.trigger_rule.value != "all_success":
        details.append(f"runs when {task.trigger_rule.value}")
    summary = inspect.cleandoc(task.doc_md or task.doc or "").partition("\n")[0]
    return f"`{task.node_id}` ({'; '.join(details)})" + (f": {summary}" if summary else "")


def table(header: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


if __name__ == "__main__":
    sys.exit(main())
