"""The look of the figures, and the figures that more than one chapter draws."""

from epsvae.plots.style import METRIC_COLOURS as METRIC_COLOURS
from epsvae.plots.style import METRIC_LABELS as METRIC_LABELS
from epsvae.plots.style import REGIME_COLOURS as REGIME_COLOURS
from epsvae.plots.style import metric_label as metric_label
from epsvae.plots.style import use_style as use_style
from epsvae.plots.style import valuation_colours as valuation_colours
from epsvae.plots.style import valuation_norm as valuation_norm
