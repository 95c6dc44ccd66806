"""Rows of any file.

readers      of files and folders: JSON, JSON lines, CSV, TSV, Parquet, Arrow
json_values  within one JSON value
huggingface  of a dataset of the hub
"""
