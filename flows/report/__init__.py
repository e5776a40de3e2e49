"""The report of a finished run as one HTML page: verdict, figures, plots, examples, and how to repeat the run."""

from thickets.flows.report.plots import Plot, own_plots, plots
from thickets.flows.report.write import report_again, write_report

__all__ = ["Plot", "own_plots", "plots", "report_again", "write_report"]
