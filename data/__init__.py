"""The ground floor: what is stored, and how it comes in and goes out. No torch here."""

from data.store import Store

__all__ = ["Store"]
