"""What attrs calls to check and convert the options; each refusal names the argument."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from ._launch import WITHOUT_TRANSCRIPT, is_on

# Linux refuses a single argument of 128 KiB or more (MAX_ARG_STRLEN), final NUL included.
_MAX_ARGUMENT: Final = 131_071
_MAX_SETTINGS: Final = _MAX_ARGUMENT - 1024  # the quiet settings go into the same argument
_MAX_DEPTH: Final = 50


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


def flag(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check for True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{attribute.name} must be True or False, not {value!r}")


def _size(name: str, value: str) -> int:
    """Return how many bytes a text takes in a program's arguments, environment or paths."""
    if "\0" in value:
        raise ValueError(f"{name} holds a NUL character; no program can be given one")
    try:
        return len(os.fsencode(value))
    except UnicodeEncodeError as exc:
        raise ValueError(f"{name} cannot be encoded: {exc.reason}") from None


def argument(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check a text that becomes a program's argument, or None."""
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be a str or None, not {value!r}")
    size = _size(attribute.name, value)
    if size > _MAX_ARGUMENT:
        raise ValueError(
            f"{attribute.name} is {size} bytes long; a program argument holds {_MAX_ARGUMENT}"
        )


def name(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check a text that becomes an argument and must not be empty, or None."""
    argument(instance, attribute, value)
    if value is not None and not value.strip():
        raise ValueError(f"{attribute.name} must not be empty; leave it None for the default")


def directory(instance: object, attribute: attrs.Attribute[Any], value: Path) -> None:
    """Check for an existing directory."""
    if not value.is_dir():
        raise ValueError(f"{attribute.name} must be an existing directory, not {str(value)!r}")


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


def variables(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check what is to go into an environment."""
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"env must map str to str, not {key!r} to {text!r}")
        if not key or "=" in key:
            raise ValueError(f"env holds {key!r}, which no environment can hold")
        _size(f"env[{key!r}]", key + text)
    _keep_transcript("env", value)


def settings(instance: object, attribute: attrs.Attribute[Any], value: Mapping[str, Any]) -> None:
    """Check what is to be passed to the CLI as settings, in JSON."""
    size = len(json.dumps(value))
    if size > _MAX_SETTINGS:
        raise ValueError(f"settings are {size} bytes of JSON; {_MAX_SETTINGS} can be passed")
    if isinstance(inner := value.get("env"), Mapping):
        _keep_transcript("settings['env']", inner)


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


def to_env(value: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of a mapping of variables."""
    if not isinstance(value, Mapping):
        raise TypeError(f"env must be a mapping, not {value!r}")
    return dict(value)


def to_settings(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a mapping that JSON can hold, down to its leaves."""
    if not isinstance(value, Mapping):
        raise TypeError(f"settings must be a mapping, not {value!r}")
    copied: dict[str, Any] = _to_json("settings", value)
    return copied


def _to_json(place: str, value: Any, depth: int = 0) -> Any:
    if depth > _MAX_DEPTH:  # or it holds itself
        raise ValueError(f"settings are nested more than {_MAX_DEPTH} deep")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{place} is {value!r}, which JSON cannot hold")
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{place} has the key {key!r}; JSON takes only a str")
        return {k: _to_json(f"{place}[{k!r}]", v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(f"{place}[{i}]", v, depth + 1) for i, v in enumerate(value)]
    raise TypeError(f"{place} is {value!r}, which JSON cannot hold")
