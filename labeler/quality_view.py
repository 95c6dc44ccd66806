"""The Quality tab's HTML."""

from typing import Any


def quality_html(found: Any) -> str:
    return ""


def gold_html(found: Any) -> str:
    return ""


def gold_choices(found: Any) -> list[Any]:
    return []
