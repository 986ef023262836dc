"""Templates of the pages, and the filters that they use."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from featx.serving import _days as days


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("featx.serving"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": days.number, "share": days.share, "in_days": days.in_days}
    environment.globals["verdict_words"] = days.verdict_words
    return environment


ENVIRONMENT = _environment()
