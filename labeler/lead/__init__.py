"""The lead's pages.

pages           the whole of them
live            parts that follow the store
snapshot        what the pages show, read at once
next_step       the one recommendation
forms           settings as a form
run_buttons     a run's state, start and stop
data_tab        import, export, guidelines, people
quality_tab     how far judgements can be trusted
quality_worker  its figures, worked out beside the server
grpo_tab        the run page
receipt_routes  receipts over HTTP
views           their HTML and charts
"""
