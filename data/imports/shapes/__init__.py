"""What rows of other tools say, as lines of the exchange format: one module for each tool.

lines           what a shape makes of a row, and the columns that all tables may have
turns           conversations: of {role, content} or {from, value}
transcripts     conversations spelled as one text, "Human: ... Assistant: ..."
trl             TRL's preferences, unpaired preferences and prompts
demonstrations  data for supervised fine-tuning, documents
fields          a prompt and its completions by the names of their fields
questions       what the name of a question says: merit, fault or neither
answers         what annotators said of completions
argilla         records of Argilla, three ways
label_studio    tasks of Label Studio
"""
