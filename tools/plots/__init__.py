"""The look of the figures, and the figures that more than one chapter draws."""

from tools.plots.board import ACCESS_COLOURS as ACCESS_COLOURS
from tools.plots.board import as_loss as as_loss
from tools.plots.board import board as board
from tools.plots.board import describe_row as describe_row
from tools.plots.board import is_error as is_error
from tools.plots.board import leads as leads
from tools.plots.board import loss_label as loss_label
from tools.plots.board import measure_label as measure_label
from tools.plots.board import order_rows as order_rows
from tools.plots.board import sees_no_more as sees_no_more
from tools.plots.disk import disk_axes as disk_axes
from tools.plots.disk import draw_disk as draw_disk
from tools.plots.disk import to_disk as to_disk
from tools.plots.forest import draw_forest as draw_forest
from tools.plots.forest import draw_losses as draw_losses
from tools.plots.forest import forest_height as forest_height
from tools.plots.forest import forest_legend as forest_legend
from tools.plots.style import METRIC_COLOURS as METRIC_COLOURS
from tools.plots.style import METRIC_LABELS as METRIC_LABELS
from tools.plots.style import REGIME_COLOURS as REGIME_COLOURS
from tools.plots.style import metric_label as metric_label
from tools.plots.style import use_style as use_style
from tools.plots.style import valuation_colours as valuation_colours
from tools.plots.style import valuation_norm as valuation_norm
