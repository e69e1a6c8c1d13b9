"""Parameters of a chapter: what its parameters cell declares, and which values it accepts.

Papermill alone injects whatever it is given: an unknown name is a warning, and ``-p fast false``
becomes the true string ``"false"``. Here both are refused.
"""

import ast
from collections.abc import Mapping
from typing import Any

from epsvae.errors import ChapterError
from tools.book.chapters import Chapter

__all__ = ["checked_parameters", "declared_parameters", "parse_value"]

TAG = "parameters"
WORDS = {"true": True, "false": False}


def declared_parameters(chapter: Chapter) -> dict[str, Any]:
    """Return the names and default values in the chapter's parameters cell; empty without one.

    Raises:
        ChapterError: the cell holds anything but assignments of literals.
    """
    tagged = [cell for cell in chapter.code_cells if TAG in cell.metadata.get("tags", [])]
    declared: dict[str, Any] = {}
    for cell in tagged:
        for node in ast.parse(cell.source).body:
            name, value = _assignment(node)
            if name is None or value is None:
                raise ChapterError(
                    f"{chapter.name}: expected only `name = literal` in the parameters cell, "
                    f"found `{ast.unparse(node)}`"
                )
            declared[name] = ast.literal_eval(value)
    return declared


def _assignment(node: ast.stmt) -> tuple[str | None, ast.expr | None]:
    """Return the name and the literal that a statement assigns, or ``None`` for each."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            pass
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            pass
        case _:
            return None, None
    try:
        ast.literal_eval(value)
    except ValueError:
        return name, None
    return name, value


def parse_value(text: str) -> Any:
    """Return the value that a text from the command line stands for.

    ``true``, ``false`` and Python literals are themselves; any other text is a string.
    """
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def checked_parameters(chapter: Chapter, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values after comparing each with the default that it replaces.

    An integer passes for a float; nothing else is converted.

    Raises:
        ChapterError: a name is unknown, or a value has another type than the default.
    """
    declared = declared_parameters(chapter)
    result = {}
    for name, value in given.items():
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise ChapterError(f"{chapter.name}: unknown parameter {name!r}; declared: {known}")
        expected = type(declared[name])
        if expected is float and type(value) is int:
            value = float(value)
        if declared[name] is not None and type(value) is not expected:
            raise ChapterError(
                f"{chapter.name}: parameter {name!r} expected {expected.__name__}, "
                f"found {type(value).__name__} {value!r}"
            )
        result[name] = value
    return result
