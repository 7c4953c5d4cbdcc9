"""One self-contained page for a run, a study, a comparison, a clustering, anomaly scores, a drift or synthetic rows.

It makes no external requests, and all text is escaped.

A page is a template, tables whose cells hold exact values, pictures, and one script that reads the embedded JSON:
the explorer's points and 16-bit weights, and the trials of a search.
"""

from vaelab.report.anomaly import build_anomaly_report
from vaelab.report.classifier import build_classifier_report
from vaelab.report.cluster import build_cluster_report
from vaelab.report.comparison import build_comparison_report
from vaelab.report.drift import build_drift_report
from vaelab.report.regressor import build_regressor_report
from vaelab.report.row_scores import build_row_scores_report
from vaelab.report.run import build_run_report
from vaelab.report.study import build_study_report
from vaelab.report.synthetic import build_synthetic_report

__all__ = [
    "build_anomaly_report",
    "build_classifier_report",
    "build_cluster_report",
    "build_comparison_report",
    "build_drift_report",
    "build_regressor_report",
    "build_row_scores_report",
    "build_run_report",
    "build_study_report",
    "build_synthetic_report",
]
