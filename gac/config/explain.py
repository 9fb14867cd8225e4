"""Everything that can be wrong with a configuration, said in plain words.

Reads a YAML file, and one mapping into one frozen model, and explains what it finds by key, value
and what is allowed.  Knows no key by name: what is allowed comes from the model's own fields.
"""

import difflib
import reprlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from gac.errors import ConfigError

Section = TypeVar("Section", bound=BaseModel)

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

_MUST_BE = "must_be"
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxdict = 16


def read_yaml(path: Path) -> object:
    """The parsed contents of a YAML file; raises ConfigError with line and column."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (at byte {error.start})") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = "is a folder; name a YAML file" if path.is_dir() else _reason(error)
        raise ConfigError(f"{path}: {reason}") from error
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {_explain_yaml(error, text)}") from error


def read_section(model: type[Section], data: object, where: str) -> Section:
    """The model that `data` describes; raises ConfigError with one line per wrong key."""
    if data is None:  # a section whose keys are all commented out
        data = {}
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{where}: {show(data)} is not allowed; "
            f"must be a mapping with the keys {', '.join(fields)}"
        )
    problems = [_unknown(where, key, list(fields)) for key in data if key not in fields]
    try:
        section = model.model_validate({key: data[key] for key in data if key in fields})
    except ValidationError as error:
        wrong = {str(e["loc"][0]): e for e in error.errors(include_url=False)}
        for key, e in wrong.items():
            what = "is missing" if e["type"] == "missing" else f"{show(data[key])} is not allowed"
            allowed = e["msg"] if e["type"] == _MUST_BE else _allowed(fields[key])
            problems.append(f"{join(where, key)}: {what}; must be {allowed}")
    if problems:
        raise ConfigError("\n".join(problems))
    return section


def attempt(
    problems: list[str],
    read: Callable[Arguments, Result],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result | None:
    """What `read` gives; None, with its error noted in `problems`, so that the rest is read too."""
    try:
        return read(*args, **kwargs)
    except ConfigError as error:
        problems.append(error.message)
        return None


def must_be(allowed: str) -> PydanticCustomError:
    """What a validator raises whose choices are not known until it is called."""
    return PydanticCustomError(_MUST_BE, "{allowed}", {"allowed": allowed})


def either(names: Iterable[str]) -> str:
    """Names to choose from, as in: 'a', 'b' or 'c'."""
    shown = [show(name) for name in names]
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def show(value: object) -> str:
    """A value as the reader may have written it, shortened, on one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _SHORT.repr(value)


def join(where: str, key: object) -> str:
    """The dotted path of a key within a section."""
    text = key if isinstance(key, str) and key.isprintable() else show(key)
    return f"{where}.{text}" if where else text


def _allowed(field: FieldInfo) -> str:
    """What a field may hold: its description, or the choices of a Literal."""
    return field.description or " or ".join(show(choice) for choice in get_args(field.annotation))


def _unknown(where: str, key: object, known: list[str]) -> str:
    """Names the key that was probably meant; if none is near, all that there are."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(str(key).lower(), by_lower, n=1)
    hint = f"did you mean {by_lower[near[0]]}?" if near else f"known keys: {', '.join(known)}"
    return f"{join(where, key)}: unknown key; {hint}"


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"cannot be read ({reason})"


def _explain_yaml(error: Exception, text: str) -> str:
    """The place (lines and columns count from 1) and the reason of a YAML error."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        return f"line {line}, column {column}: not valid YAML: a control character"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        reason = ": ".join(part for part in (error.context, error.problem) if part)
        return f"line {mark.line + 1}, column {mark.column + 1}: not valid YAML: {reason}"
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return f"not valid YAML: {reason}"


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key that stands twice, where YAML's default keeps the last."""

    # While nodes are composed, not when they are constructed: by then `<<` has mixed in keys that
    # may well be repeated.
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, Any], yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            earlier = first.setdefault((key.tag, key.value), key)
            if earlier is not key:
                problem = f"the key {show(key.value)} appears twice"
                problem += f" (first on line {earlier.start_mark.line + 1})"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        return node
