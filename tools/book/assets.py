"""Third-party scripts of the pages: copied from installed packages, never committed."""

import logging
import shutil
from importlib.util import find_spec
from pathlib import Path

from epsvae.errors import EpsvaeError

__all__ = ["copy_assets"]

logger = logging.getLogger(__name__)

VENDOR = Path("book", "_static", "vendor")
ASSETS = {
    "tex-svg.js": ("mathjax", "static/mathjax/es5/tex-svg.js", "django-static-mathjax"),
    "plotly.min.js": ("plotly", "package_data/plotly.min.js", "plotly"),
}
"""File below ``book/_static/vendor/``: the package that ships it, its path there, its wheel."""


def copy_assets(root: Path) -> list[Path]:
    """Copy the scripts below ``root`` where they are missing or differ; return their paths.

    Raises:
        EpsvaeError: a package that ships a script is not installed.
    """
    targets = []
    for name, (package, inside, wheel) in ASSETS.items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise EpsvaeError(f"{name}: expected the package {wheel} to be installed, found none")
        source, target = Path(spec.origin).parent / inside, root / VENDOR / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_file() or target.stat().st_size != source.stat().st_size:
            shutil.copyfile(source, target)
            logger.info("%s: copied from %s", target.relative_to(root), wheel)
        targets.append(target)
    return targets
