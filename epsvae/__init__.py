"""epsvae: a map of checkpoint behaviour.

Rooms, each importing only from those before it: `subject` and its neighbours (the seam, files,
errors), `map` (learned quadrature for any subject), `uses` (what a map is good for), `subjects`
(ternary, with its own map; digits; text). The names here are those of the seed document's examples.
"""

from epsvae.lazy import importer
from epsvae.threads import let_waiting_threads_sleep

let_waiting_threads_sleep()

_ROOMS = {
    "Checkpoint": "subjects.ternary.library.files",
    "load_checkpoint": "subjects.ternary.library.files",
    "save_checkpoint": "subjects.ternary.library.files",
    "extract_key_weights": "subjects.ternary.library.layout",
    "EpsilonVAE": "subjects.ternary.map.model",
    "load_epsilon_vae": "subjects.ternary.map.files",
    "open_release": "subjects.ternary.map.release",
    "predict_files": "map.predict",
    "find_pareto_efficient": "uses.pareto",
    "Metric": "subject",
    "Subject": "subject",
    "check": "conformance",
    "load_subject": "loading",
}
__all__ = list(_ROOMS)
__getattr__ = importer(__name__, _ROOMS)  # `epsvae --help` need not load torch
