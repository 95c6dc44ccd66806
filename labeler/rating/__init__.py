"""The annotator's page.

actions  what a press does, without a page
api      the JSON routes
page     the Gradio page
"""
