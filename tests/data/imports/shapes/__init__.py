"""Rows of other tools, by what each of them says."""
