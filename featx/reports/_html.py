"""A document as one HTML page that needs no other file."""

from __future__ import annotations

import base64

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from featx.reports._document import Document, Picture

_TYPES = {"svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg"}


def as_html(document: Document) -> str:
    """Return the page. Everything from outside is escaped, pictures are within it."""
    environment = Environment(
        loader=PackageLoader("featx.reports"),
        autoescape=select_autoescape(["html", "j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["uri"] = _data_uri
    return environment.get_template("report.html.j2").render(document=document)


def _data_uri(picture: Picture) -> str:
    content = base64.b64encode(picture.content).decode()
    return f"data:{_TYPES[picture.suffix]};base64,{content}"
