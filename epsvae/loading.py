"""Find the subject that a user names: a file, ``package.module:Name``, or a short name.

Loading a subject runs its code. It happens only for what the user names, never for a name that a
checkpoint or a map holds.
"""

import importlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from epsvae.atomic import replacing
from epsvae.errors import SubjectError
from epsvae.subject import Metric, Subject
from epsvae.users_code import UsersCode

KNOWN = {
    "ternary": "epsvae.subjects.ternary.subject:Ternary",
    "digits": "epsvae.subjects.digits:Digits",
    "text": "epsvae.subjects.text:Text",
}
"""Short names of the subjects that come with the package."""
MOST_METRICS = 32
"""They share the 64 numbers of z with the geometry."""


def load_subject(name: str | Path) -> Subject:
    """The subject in a file, the one called ``package.module:Name``, or one of `KNOWN`.

    Of a file (and of a module without a name after it) it is the instance called ``subject``, else
    the one subclass of `Subject` that is defined there, made without arguments. Raises
    SubjectError, naming the file, what was expected and what was found.
    """
    text = KNOWN.get(str(name), str(name))
    module_name, _, attribute = text.partition(":")
    if text.endswith(".py") or Path(text).is_file():
        module, attribute = _import_file(Path(text)), ""
    else:
        module = _import_module(module_name)
    found = _named(text, module, attribute) if attribute else _only(text, module)
    subject = _made(text, found) if isinstance(found, type) else found
    check_parts(text, subject)
    return subject


def write_template(path: Path) -> None:
    """Write a first subject, to be changed; raises SubjectError if there is a file already."""
    text = Path(__file__).with_name("template.py").read_text("utf-8")
    if path.exists():
        raise SubjectError(f"{path}: expected no file there, found one, which is left as it is")
    with replacing(path) as temporary:
        temporary.write_text(text.partition("\n")[2], "utf-8")


def check_parts(name: str, subject: Any) -> None:
    """Raise SubjectError, naming the file, if a subject lacks a part or has one of another type."""
    if not isinstance(subject, Subject):
        raise SubjectError(f"{name}: expected a Subject, found {type(subject).__name__}")
    _expect(name, "name", subject, str)
    metrics = _expect(name, "metrics", subject, tuple, list)
    wrong = [type(metric).__name__ for metric in metrics if not isinstance(metric, Metric)]
    if wrong or not metrics:
        found = wrong[0] if wrong else "none"
        raise SubjectError(f"{name}: expected metrics as a tuple of Metric, found {found}")
    names = [metric.name for metric in metrics]
    if len(set(names)) < len(names):
        raise SubjectError(f"{name}: expected metrics of different names, found {names}")
    if len(names) > MOST_METRICS:
        raise SubjectError(f"{name}: expected at most {MOST_METRICS} metrics, found {len(names)}")
    if bad := [metric for metric in metrics if not metric.low < metric.high]:
        raise SubjectError(
            f"{name}: expected {bad[0].name} with low < high, found {bad[0].low} and {bad[0].high}"
        )
    _check_pool(name, subject)
    kind = type(subject)
    if kind.build is Subject.build:
        raise SubjectError(f"{name}: expected {kind.__name__} to define build(state), found none")
    if kind.measure is Subject.measure and kind.items is Subject.items:
        raise SubjectError(
            f"{name}: expected {kind.__name__} to define measure(module), or items(answers, "
            "targets) whose means are the metrics, found neither"
        )


def _check_pool(name: str, subject: Subject) -> None:
    inputs = _expect(name, "inputs", subject, torch.Tensor)
    if inputs.ndim < 1 or len(inputs) < 2:
        raise SubjectError(
            f"{name}: expected inputs of shape (N, ...) with N > 1, found {tuple(inputs.shape)}"
        )
    targets = _expect(name, "targets", subject, torch.Tensor, type(None))
    if targets is not None and (targets.ndim < 1 or len(targets) != len(inputs)):
        raise SubjectError(
            f"{name}: expected one target for each of {len(inputs)} inputs, "
            f"found shape {tuple(targets.shape)}"
        )


def _expect(name: str, attribute: str, subject: Subject, *kinds: type) -> Any:
    wanted = " or ".join(kind.__name__ for kind in kinds)
    if not hasattr(subject, attribute):
        raise SubjectError(f"{name}: expected {attribute} as {wanted}, found no such attribute")
    value = getattr(subject, attribute)
    if not isinstance(value, kinds):
        raise SubjectError(f"{name}: expected {attribute} as {wanted}, found {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {value!r:.60}"


def _import_file(path: Path) -> ModuleType:
    """Run a file as a module of its own; what lies beside it can be imported from it."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise SubjectError(f"{path}: expected the file of a subject, found {found}")
    path = path.resolve()
    spec = spec_from_file_location(f"epsvae_subject_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SubjectError(f"{path}: expected a Python file, found {path.suffix!r}")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # pickling and dataclasses look their module up here
    sys.path.insert(0, str(path.parent))
    try:
        with UsersCode(str(path), "a file that runs"):
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def _import_module(name: str) -> ModuleType:
    expected = "a file ending in .py, or package.module:Name that can be imported"
    with UsersCode(name, expected):
        return importlib.import_module(name)


def _named(name: str, module: ModuleType, attribute: str) -> Any:
    if not hasattr(module, attribute):
        known = ", ".join(kind.__name__ for kind in _subclasses(module)) or "none"
        raise SubjectError(f"{name}: expected {attribute} in it, found these subjects: {known}")
    return getattr(module, attribute)


def _only(name: str, module: ModuleType) -> Any:
    if "subject" in vars(module):
        return vars(module)["subject"]
    known = _subclasses(module)
    if len(known) != 1:
        found = ", ".join(kind.__name__ for kind in known) or "none"
        raise SubjectError(
            f"{name}: expected one subclass of epsvae.subject.Subject, or an instance called "
            f"`subject`, found {found}"
        )
    return known[0]


def _subclasses(module: ModuleType) -> list[type[Subject]]:
    """The subjects that a module defines itself; those it imports to build on do not count."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Subject)
        and value.__module__ == module.__name__
    ]


def _made(name: str, kind: type) -> Any:
    with UsersCode(name, f"{kind.__name__}() to work"):
        return kind()
