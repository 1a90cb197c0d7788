"""What attrs calls to check and convert the options; each refusal names the argument."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, get_args

import attrs

from ._launch import WITHOUT_TRANSCRIPT, is_on

# Linux refuses a single argument of 128 KiB or more (MAX_ARG_STRLEN), final NUL included.
MAX_ARGUMENT: Final = 131_071
_MAX_DEPTH: Final = 50

Validator: TypeAlias = Callable[[object, "attrs.Attribute[Any]", Any], None]


def seconds(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check a number of seconds, more than 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} must be a number of seconds, not {value!r}")
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0 seconds, not {value!r}")


def optional_seconds(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check a number of seconds, more than 0, or None."""
    if value is not None:
        seconds(instance, attribute, value)


def optional_amount(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check an amount of money, more than 0, or None."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} must be a number, not {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"{attribute.name} must be more than 0, not {value!r}")


def flag(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check for True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{attribute.name} must be True or False, not {value!r}")


def optional_flag(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check for True, False or None."""
    if value is not None:
        flag(instance, attribute, value)


def _size(name: str, value: str) -> int:
    """Return how many bytes a text takes in a program's arguments, environment or paths."""
    if "\0" in value:
        raise ValueError(f"{name} holds a NUL character; no program can be given one")
    try:
        return len(os.fsencode(value))
    except UnicodeEncodeError as exc:
        raise ValueError(f"{name} cannot be encoded: {exc.reason}") from None


def text(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check a text that is written into a file, or None."""
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be a str or None, not {value!r}")
    if "\0" in value:
        raise ValueError(f"{attribute.name} holds a NUL character; no prompt can")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise ValueError(f"{attribute.name} cannot be encoded: {exc.reason}") from None


def argument(name: str, value: Any) -> None:
    """Check a text that becomes a program's argument, or the value of a variable.

    Args:
        name: What it is called in a refusal.
        value: The text.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {value!r}")
    size = _size(name, value)
    if size > MAX_ARGUMENT:
        raise ValueError(f"{name} is {size} bytes long; a program argument holds {MAX_ARGUMENT}")


def name(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check a name that becomes an argument of its own, or None."""
    if value is None:
        return
    argument(attribute.name, value)
    if not value.strip():
        raise ValueError(f"{attribute.name} must not be empty; leave it None for the default")
    if value.startswith("-"):
        raise ValueError(f"{attribute.name} must not begin with a dash: {value!r}")


def choice(of: Any) -> Validator:
    """Return what checks for one of the values of a ``Literal``."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in get_args(of):
            known = ", ".join(get_args(of))
            raise ValueError(f"{attribute.name} must be one of {known}, not {value!r}")

    return check


def optional_choice(of: Any) -> Validator:
    """Return what checks for one of the values of a ``Literal``, or None."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None:
            choice(of)(instance, attribute, value)

    return check


def choices(of: Any) -> Validator:
    """Return what checks for a sequence of the values of a ``Literal``, or None."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None:
            return
        sequence(instance, attribute, value)
        for item in value:
            choice(of)(instance, attribute, item)

    return check


def sequence(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check for a list or a tuple of texts, or None."""
    if value is None:
        return
    if not isinstance(value, tuple):
        raise TypeError(f"{attribute.name} must be a list of str, not {value!r}")
    for item in value:
        if not isinstance(item, str):
            raise TypeError(f"{attribute.name} must hold str only, not {item!r}")


def directory(instance: object, attribute: attrs.Attribute[Any], value: Path) -> None:
    """Check for an existing directory."""
    if not value.is_dir():
        raise ValueError(f"{attribute.name} must be an existing directory, not {str(value)!r}")


def directories(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check for existing directories."""
    if not isinstance(value, tuple):
        raise TypeError(f"{attribute.name} must be a list of paths, not {value!r}")
    for path in value:
        directory(instance, attribute, path)


def function(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check for something that can be called."""
    if not callable(value):
        raise TypeError(f"{attribute.name} must be callable, not {value!r}")


def count(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check for a whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{attribute.name} must be a whole number, not {value!r}")
    if value < 0:
        raise ValueError(f"{attribute.name} must be 0 or more, not {value!r}")


def optional_positive(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check for a whole number, 1 or more, or None."""
    if value is not None:
        count(instance, attribute, value)
        if not value:
            raise ValueError(f"{attribute.name} must be 1 or more, not {value!r}")


def variables(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check what is to go into an environment."""
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"env must map str to str, not {key!r} to {text!r}")
        if not key or "=" in key:
            raise ValueError(f"env holds {key!r}, which no environment can hold")
        _size(f"env[{key!r}]", key + text)
    _keep_transcript("env", value)


def settings(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check what is to be passed to the CLI as settings, in JSON."""
    json_object(instance, attribute, value)
    inner, permissions = value.get("env", {}), value.get("permissions", {})
    for key, found in (("env", inner), ("permissions", permissions)):
        if not isinstance(found, Mapping):
            raise TypeError(f"settings[{key!r}] must be a mapping, not {found!r}")
    _keep_transcript("settings['env']", inner)
    for key in ("allow", "deny", "additionalDirectories"):
        if not isinstance(permissions.get(key, []), list):
            raise TypeError(f"settings['permissions'][{key!r}] must be a list")


def json_object(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check for a mapping that JSON can hold, down to its leaves."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{attribute.name} must be a mapping, not {value!r}")
    _check_json(attribute.name, value)


def _keep_transcript(name: str, env: Mapping[str, Any]) -> None:
    for variable in WITHOUT_TRANSCRIPT:
        if is_on(env.get(variable, "")):
            raise ValueError(
                f"{name} sets {variable}, with which the CLI writes no transcript; the transcript is "
                "what a backend reads, so leave it out"
            )


def _path(name: str, value: object) -> str:
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(path, str):
        raise TypeError(f"{name} must be a path, not {value!r}")
    _size(name, path)
    return path


def to_real_path(value: str | os.PathLike[str]) -> Path:
    """Return the absolute path of `cwd`, links resolved."""
    return Path(os.path.realpath(_path("cwd", value)))


def to_program(value: str | os.PathLike[str] | None) -> Path | None:
    """Return the absolute path of `cli_path`, or None."""
    # Not resolved: an installed `claude` is often a link, and its own name is part of it.
    return None if value is None else Path(os.path.abspath(_path("cli_path", value)))  # noqa: PTH100


def to_real_paths(value: Sequence[str | os.PathLike[str]]) -> tuple[Path, ...]:
    """Return the absolute paths of `add_dirs`, links resolved."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"add_dirs must be a list of paths, not {value!r}")
    return tuple(Path(os.path.realpath(_path("add_dirs", path))) for path in value)


def to_env(value: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of a mapping of variables."""
    if not isinstance(value, Mapping):
        raise TypeError(f"env must be a mapping, not {value!r}")
    return dict(value)


def to_texts(value: Sequence[str]) -> Sequence[str]:
    """Return a list as a tuple, which nobody can change; anything else is for the validator."""
    return tuple(value) if isinstance(value, list) else value


def to_optional_texts(value: Sequence[str] | None) -> Sequence[str] | None:
    """Return a list as a tuple, as `to_texts`; None is None."""
    return None if value is None else to_texts(value)


def to_mapping(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a copy that shares no mapping and no list; what it holds is for the validator."""
    copy: Mapping[str, Any] = _copied(value, 0)
    return copy


def to_optional_mapping(value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a copy, as `to_mapping`; None is None."""
    return None if value is None else to_mapping(value)


def _copied(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, Mapping):
        return {key: _copied(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item, depth + 1) for item in value]
    return value


def _check_json(place: str, value: Any, depth: int = 0) -> None:
    if depth > _MAX_DEPTH:  # or it holds itself
        raise ValueError(f"{place.partition('[')[0]} is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{place} has the key {key!r}; JSON takes only a str")
            _check_json(f"{place}[{key!r}]", item, depth + 1)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _check_json(f"{place}[{i}]", item, depth + 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{place} is {value!r}, which JSON cannot hold")
    elif value is not None and not isinstance(value, bool | int | str):
        raise TypeError(f"{place} is {value!r}, which JSON cannot hold")
