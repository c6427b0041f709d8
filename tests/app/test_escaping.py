"""No text of a venue comes to a page by any other way than `app.components.shown`."""

import ast
from pathlib import Path

import pytest

import app

FILES = sorted(Path(app.__file__).parent.rglob("*.py"))
RAW = {"HTML", "Markdown", "Str", "Alert", "Typography", "StaticText", "Div", "Paragraph", "PreText"}
RAW |= {"Tabulator", "Html"}
"""What shows a text as HTML, or may."""


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """The last name of each call, and the call."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            found.append((name, node))
    return found


def offences(source: str, *, is_components: bool = False) -> list[str]:
    """The calls in `source` that bring anything but escaped text to a page."""
    found = []
    for name, call in calls(ast.parse(source)):
        if name in RAW and not is_components:
            found.append(f"{name} in line {call.lineno}")
        is_constant = bool(call.args) and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
        if name == "fill" and not is_constant:
            found.append(f"fill of no constant in line {call.lineno}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_components_make_html(path):
    """Every other file composes with `fill` of constant templates, and builds no pane of text."""
    assert offences(path.read_text(), is_components=path.name == "components.py") == []


def test_components_make_it_in_four_places():
    """`shown`, `fill`, `joined` and the one pane: whoever adds another has to look here."""
    source = next(path for path in FILES if path.name == "components.py").read_text()
    made = [name for name, _ in calls(ast.parse(source)) if name in RAW]
    assert sorted(made) == ["HTML", "Html", "Html", "Html"]


@pytest.mark.parametrize(
    "line",
    [
        'pn.pane.HTML(f"<b>{title}</b>")',
        "pn.pane.Markdown(title)",
        "Str(title)",
        "Html(title)",
        "fill(title)",
        'fill("<b>" + title + "</b>")',
        'fill(f"<b>{title}</b>")',
        "components.fill(template, title)",
        "pn.widgets.Tabulator(frame)",
    ],
)
def test_lint_finds_what_it_looks_for(line):
    """Each way around is seen."""
    assert len(offences(line)) == 1
