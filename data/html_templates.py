"""HTML from Jinja2 templates: whatever is filled in is escaped."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def environment(package: str) -> Environment:
    """Templates of the folder `templates` in an importable package, e.g. "labeler".

    A name that a template uses and nobody gave is an error; text is escaped unless it is
    `markupsafe.Markup` already.
    """
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
