"""The web app: people rate, a lead starts and watches runs.

serve, simulate  the verbs; app puts the routes together
command_line     `coach`: all verbs, by the step of the loop
gradio_import    Gradio, imported in one place
access           sign-in, roles, headers
rating           the annotators' page
lead             the leads' pages
safe_html        what a model wrote, as harmless HTML
jobs             runs as child processes
rendering        templates/ filled in, numbers as text
theme            colours and fonts of Gradio's parts
"""
