"""The ground floor: what is stored, and how it comes in and goes out. No torch here.

schema         prompts, completions, tasks, judgements
store          the ledger and everything else that is kept, on SQLite or PostgreSQL
exchange       the exchange format; imports and exports: other tools' formats
task_planning  which completions are compared; splits: what is held out
quality        agreement and annotators; stats: estimates and intervals
runs           a run: a child process, its row and its folder
settings       settings as arguments and back
accounts       names of people that look alike
places         folders and addresses; atomic_files: files that appear whole or not at all
texts          what every text passes on its way in
simulated_annotators  people with a known taste; starter: prompts and demonstrations to begin with
ports, html_templates, self_identification  a free port; Jinja2; what a model says of itself
"""

from data.store import Store

__all__ = ["Store"]
