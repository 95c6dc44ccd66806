"""Untrusted text to harmless HTML.

markdown      Markdown, through an allowlist
latex         formulas to MathML
highlighting  code in colours
hidden_text   characters that cannot be seen, shown
kept          HTML of a text, made once
slices        how much of a text is laid out at once
"""
