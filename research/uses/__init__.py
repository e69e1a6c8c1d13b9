"""What chapters of the seven uses need and a user does not call: choices and courses."""

from research.uses.endpoint import Early as Early
from research.uses.endpoint import choose_forecast as choose_forecast
from research.uses.endpoint import early_part as early_part
from research.uses.outcome import QualityForecaster as QualityForecaster
from research.uses.outcome import fit_quality_forecaster as fit_quality_forecaster
from research.uses.outcome import forecast_folder as forecast_folder
from research.uses.quality import Course as Course
from research.uses.quality import release_courses as release_courses
from research.uses.screening import successive_halving as successive_halving
