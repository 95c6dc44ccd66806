"""Verdicts in words: pure functions from a run's metrics.

curves    metrics as curves, with trends tested
diagnose  all rules over a run
rules     one file a family of faults
"""
