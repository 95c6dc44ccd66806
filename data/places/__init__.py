"""Where work is kept.

store_address    what names a store: read, shown without its secrets, handed to child processes
private          folders that only their owner may enter
leftovers        what killed processes left half made
"""
