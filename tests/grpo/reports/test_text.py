"""A GRPO report as text."""

from __future__ import annotations

from grpo.diagnosis.diagnose import diagnose
from grpo.reports.records import GrpoReport
from grpo.reports.text import report_lines
from tests.grpo.diagnosis.test_diagnose import BASELINE, SETTINGS, ill


def test_a_report_prints_the_verdict_and_what_to_do():
    verdicts = diagnose(ill("truncation"), SETTINGS, BASELINE)
    text = "\n".join(report_lines(GrpoReport(summary="40 steps.", steps=40, verdicts=verdicts)))
    assert "watch: " in text and "raise the longest completion from 48 to 96" in text
