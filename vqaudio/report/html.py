"""What pages have in common: one file of HTML with everything inside, sections, sentences about what is missing."""

from html import escape
from importlib.resources import files as resources


def html_page(title: str, body: str, style: str = "") -> str:
    """Return a page with the project's style sheet, and `style` after it, inside."""
    common = resources("vqaudio.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{common}{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def section(title: str, content: str) -> str:
    """Return a section with a heading."""
    return f"<section>\n<h2>{title}</h2>\n{content}\n</section>\n"


def missing(sentence: str) -> str:
    """Return a sentence about something that should be there."""
    return f'<p class="missing">{escape(sentence)}</p>'
