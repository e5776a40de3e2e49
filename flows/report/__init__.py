"""A finished run as one page for a browser: verdict first, then figures, plots, examples, and how to do it again."""

from flows.report.own import own_plots
from flows.report.plots import Plot, plots
from flows.report.write import report_again, write_report

__all__ = ["Plot", "own_plots", "plots", "report_again", "write_report"]
