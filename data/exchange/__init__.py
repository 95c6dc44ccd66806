"""The exchange format: one line of JSON to a noun and back.

models      the columns of each kind of line, as pydantic models
lines       a line to a noun, a noun to a line
turns       turns of a conversation as {role, content}
validation  JSON read strictly, refusals in words
"""
