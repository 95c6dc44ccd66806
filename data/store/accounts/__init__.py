"""People: who they are, how they get in, and the guidelines they read.

people       annotators and leads, their sessions and passwords
invitations  links by which somebody chooses a password
guidelines   what annotators are asked to go by
look_alikes  names that the eye would take for one another
"""
