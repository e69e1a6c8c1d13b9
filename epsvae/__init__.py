"""epsvae: a map of checkpoint behaviour.

Rooms, each importing only from those before it: `ternary` (the networks being mapped), `library`
(checkpoints on disk), `map` (the Epsilon-VAE), `uses` (what it is good for), then `plots`, `book`
and the command line. The names here are those of the seed document's examples.
"""

from typing import Any

from epsvae.threads import let_waiting_threads_sleep

let_waiting_threads_sleep()

_ROOMS = {
    "Checkpoint": "library.files",
    "load_checkpoint": "library.files",
    "save_checkpoint": "library.files",
    "extract_key_weights": "library.layout",
    "EpsilonVAE": "map.model",
    "load_epsilon_vae": "map.files",
    "open_release": "map.release",
    "predict_files": "map.predict",
    "find_pareto_efficient": "uses.pareto",
    "Metric": "subject",
    "Subject": "subject",
    "check": "conformance",
    "load_subject": "loading",
}
__all__ = list(_ROOMS)


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: `epsvae --help` need not load torch."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
