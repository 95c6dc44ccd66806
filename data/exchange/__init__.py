"""The exchange format: one line of JSON to a noun and back.

lines       reading and writing each kind of line
validation  values checked, errors in words
"""
