"""Fills the templates of the HTML pages; all text is escaped."""

from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vqaudio import __version__

TEMPLATES = Path(__file__).parent / "templates"


def render(template: Path, **values: Any) -> str:
    """Return a template filled with `values`; it may extend and import the templates of `TEMPLATES` by name.

    All text is escaped; only drawings made here come as `Markup`. A name without a value raises `UndefinedError`.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made = f"{date.today().isoformat()} · vqaudio {__version__}"
    return environment.get_template(template.name).render(made=made, **values)
