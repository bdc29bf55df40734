"""Reads the YAML files that people write, and says of what is wrong in them where it stands and what to do."""

import difflib
from collections.abc import Hashable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel

from spoqplus_backup.core.errors import SettingsError


class _Loader(yaml.SafeLoader):
    """YAML without surprises: a key that stands twice is an error, not silently the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the field {key} stands twice: remove one of the two", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, named_by: str, example: str) -> Mapping[str, Any]:
    """The fields of a file; none when it is empty.

    Args:
        path: the file.
        named_by: the variable or setting that its path is from, for the error.
        example: a file that shows how to write one.

    Raises:
        SettingsError: it can't be read, or holds no fields.
    """
    try:
        content = yaml.load(path.read_text("utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise SettingsError(
            f"{path} can't be read ({error.strerror}): correct the path or its permissions; {named_by} names it."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{path}: line {line} can't be read: {error.problem}: correct this line.") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML ({type(error).__name__}): correct it.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path} holds no fields: write `field: value` lines, as in {example}.")
    return content


def complaint(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    """What is wrong and what to do, by one of pydantic's errors about a model that was read from a file."""
    location = error["loc"]
    field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).lstrip(".")
    if error["type"] == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        remedy = f"write `{near[0]}`" if near else f"remove it or use one of {', '.join(known)}"
        return f"`{field}` is an unknown field: {remedy}"
    if error["type"] == "missing":
        return f"`{field}` is missing: add it"
    if error["type"] == "value_error":
        return f"`{field}` {error['ctx']['error']}"
    return f"`{field}` is wrong: {error['msg'][:1].lower()}{error['msg'][1:]}; correct the value"


def _fields_at(root: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The fields that are known where the unknown one stood."""
    model: Any = root
    for step in location:
        if isinstance(step, int):
            model = model.__args__[0]
        elif isinstance(model, type) and issubclass(model, BaseModel) and step in model.model_fields:
            model = model.model_fields[step].annotation
        elif get_origin(model) is dict:
            model = get_args(model)[1]
        if isinstance(model, UnionType):  # a section that may be null
            model = get_args(model)[0]
    return list(model.model_fields)
