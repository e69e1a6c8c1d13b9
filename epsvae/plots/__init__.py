"""The look of the figures, and the figures that more than one chapter draws."""

from epsvae.plots.disk import disk_axes as disk_axes
from epsvae.plots.disk import draw_disk as draw_disk
from epsvae.plots.disk import to_disk as to_disk
from epsvae.plots.style import METRIC_COLOURS as METRIC_COLOURS
from epsvae.plots.style import METRIC_LABELS as METRIC_LABELS
from epsvae.plots.style import REGIME_COLOURS as REGIME_COLOURS
from epsvae.plots.style import metric_label as metric_label
from epsvae.plots.style import use_style as use_style
from epsvae.plots.style import valuation_colours as valuation_colours
from epsvae.plots.style import valuation_norm as valuation_norm
