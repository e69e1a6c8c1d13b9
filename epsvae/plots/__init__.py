"""The look of the figures, and the figures that more than one chapter draws."""

from epsvae.plots.board import ACCESS_COLOURS as ACCESS_COLOURS
from epsvae.plots.board import as_loss as as_loss
from epsvae.plots.board import board as board
from epsvae.plots.board import describe_row as describe_row
from epsvae.plots.board import is_error as is_error
from epsvae.plots.board import leads as leads
from epsvae.plots.board import loss_label as loss_label
from epsvae.plots.board import measure_label as measure_label
from epsvae.plots.board import order_rows as order_rows
from epsvae.plots.board import sees_no_more as sees_no_more
from epsvae.plots.disk import disk_axes as disk_axes
from epsvae.plots.disk import draw_disk as draw_disk
from epsvae.plots.disk import to_disk as to_disk
from epsvae.plots.forest import draw_forest as draw_forest
from epsvae.plots.forest import draw_losses as draw_losses
from epsvae.plots.forest import forest_height as forest_height
from epsvae.plots.forest import forest_legend as forest_legend
from epsvae.plots.style import METRIC_COLOURS as METRIC_COLOURS
from epsvae.plots.style import METRIC_LABELS as METRIC_LABELS
from epsvae.plots.style import REGIME_COLOURS as REGIME_COLOURS
from epsvae.plots.style import metric_label as metric_label
from epsvae.plots.style import use_style as use_style
from epsvae.plots.style import valuation_colours as valuation_colours
from epsvae.plots.style import valuation_norm as valuation_norm
