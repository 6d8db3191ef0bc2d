"""An evaluation as files: a page for a browser, CSV for a spreadsheet, JSON for programs."""

from pipelines.report.export import csv_text, json_text, write_csv, write_json
from pipelines.report.files import check_results, new_files, save
from pipelines.report.page import render_page
from pipelines.report.worst import worst_frames
from pipelines.report.write import write_all, write_report

__all__ = [
    "check_results",
    "csv_text",
    "json_text",
    "new_files",
    "render_page",
    "save",
    "worst_frames",
    "write_all",
    "write_csv",
    "write_json",
    "write_report",
]
