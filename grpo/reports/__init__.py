"""Reports.

records    what each command reports, typed
text       as lines for the shell
loop_html  the whole loop as a page
"""
