"""Names of people.

look_alikes  names that the eye would take for one another
"""
