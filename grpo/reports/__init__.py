"""Reports.

text       as lines for the shell
loop_html  the whole loop as a page
"""
