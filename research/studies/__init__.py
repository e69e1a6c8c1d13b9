"""Studies that take longer than a build of the book may: ablations and the scaling law.

Every cell of a study is one file under its cache, so a killed study goes on where it stopped.
"""

from research.studies.run import run_study as run_study
