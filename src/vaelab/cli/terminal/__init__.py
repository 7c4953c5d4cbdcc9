"""Terminal output: live progress on standard error, results as tables on standard output."""

from vaelab.cli.terminal.classifier import print_classifier
from vaelab.cli.terminal.drift import print_drift
from vaelab.cli.terminal.folders import print_entries, print_findings
from vaelab.cli.terminal.inverse import print_intervals, print_inversion, print_solutions
from vaelab.cli.terminal.latent import print_anomalies, print_clusters, print_row_scores
from vaelab.cli.terminal.models import print_comparison, print_evaluation, print_run, print_settings, print_study
from vaelab.cli.terminal.progress import comparison_watch, download_progress, epochs, inversion, watch
from vaelab.cli.terminal.regressor import print_regressor
from vaelab.cli.terminal.synthetic import print_synthetic

__all__ = [
    "comparison_watch",
    "download_progress",
    "epochs",
    "inversion",
    "print_anomalies",
    "print_classifier",
    "print_clusters",
    "print_comparison",
    "print_drift",
    "print_entries",
    "print_evaluation",
    "print_findings",
    "print_intervals",
    "print_inversion",
    "print_regressor",
    "print_row_scores",
    "print_run",
    "print_settings",
    "print_solutions",
    "print_study",
    "print_synthetic",
    "watch",
]
