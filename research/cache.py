"""The one cache of all studies: what was computed is kept until its code or its data change."""

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import joblib
import pandas as pd

from epsvae.atomic import replacing

T = TypeVar("T")
ROOT = Path(__file__).parents[1]


def kept(folder: Path, compute: Callable[[], T], module: str, *keys: object) -> T:
    """What `compute` gives, read from `folder` where `key` of the rest was computed before.

    A killed computation leaves nothing; what another code or other keys gave stays, unread.
    """
    path = folder / f"{key(module, *keys)}.joblib"
    if not path.is_file():
        with replacing(path) as temporary:
            joblib.dump(compute(), temporary)
    found: T = joblib.load(path)
    return found


def key(module: str, *keys: object) -> str:
    """32 hex digits for what `keys` ask of the code of a module."""
    return str(joblib.hash((_code(module), keys)))


def fingerprint(*tables: pd.DataFrame) -> str:
    """32 hex digits for data: for indices, say, which hold the hash of every checkpoint."""
    return str(joblib.hash([pd.util.hash_pandas_object(table).to_numpy() for table in tables]))


@cache
def _code(module: str) -> str:
    return str(joblib.hash(sorted(sources(module).items())))


def sources(module: str) -> dict[str, str]:
    """The code of a module and of all of ours that it imports, by name.

    Comments and docstrings do not count, nor do versions of what is installed. Modules are found
    where they are imported by ``from … import``.
    """
    found: dict[str, str] = {}
    missing = [module]
    while missing:
        name = missing.pop()
        path = ROOT / name.replace(".", "/")
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in found or not file.is_file():
            continue
        tree = ast.parse(file.read_text(encoding="utf8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                missing += [f"{node.module}", *(f"{node.module}.{a.name}" for a in node.names)]
        found[name] = ast.dump(_Silent().visit(tree))
    return found


class _Silent(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> Any:
        """Leave out what only says something: a string that stands by itself."""
        return None if isinstance(node.value, ast.Constant) else node
