"""Templated parameters: what they may be, before and after they are rendered."""

from __future__ import annotations

import re
from collections.abc import Sequence

from airflow_provider_cloudlock.exceptions import CloudlockConfigError

#: A template has delimiters, whatever those of the DAG are; these texts have none.
_NO_TEMPLATE = re.compile(r"[\w.+-]*")
_DIGITS = re.compile(r"\d{1,18}", re.ASCII)


def is_given(value: object) -> bool:
    """Whether a rendered parameter has a value: a template of an absent value renders to nothing or to ``None``."""
    return str(value) not in ("", "None")


def is_rendered(value: object) -> bool:
    """Whether a parameter has its value already when the DAG is parsed: it is no template, and no task's output."""
    return isinstance(value, int | float) or (isinstance(value, str) and bool(_NO_TEMPLATE.fullmatch(value)))


def whole_number(name: str, value: object, least: int, most: int | None = None) -> int | None:
    """Return a whole number, also if it was rendered to a text; None if it is not given.

    :param name: the parameter's name, for the error.
    :param value: the parameter.
    :param least: the smallest number allowed.
    :param most: the largest one, None for any.
    :raises CloudlockConfigError: if it is not such a number.
    """
    if not is_given(value):
        return None
    if isinstance(value, int | str) and not isinstance(value, bool) and _DIGITS.fullmatch(str(value)):
        number = int(value)
        if least <= number and (most is None or number <= most):
            return number
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise CloudlockConfigError(f"{name}={value!r} is not a whole number {bounds}.")


def one_of(name: str, value: object, names: Sequence[str]) -> str | None:
    """Return one of some names, None if it is not given.

    :param name: the parameter's name, for the error.
    :param value: the parameter.
    :param names: the names.
    :raises CloudlockConfigError: if it is none of them.
    """
    if not is_given(value):
        return None
    if value not in names:
        raise CloudlockConfigError(f"Unknown {name}={value!r}. Give {', '.join(names[:-1])} or {names[-1]}.")
    return str(value)
