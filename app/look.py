"""How the pages look: one palette for both themes, one type scale, one stylesheet.

Up and down are blue-green and orange, which colour-blind eyes tell apart, and always come with a sign and an arrow.
"""

from pathlib import Path
from typing import Any, Final

UP, DOWN = "#12a088", "#e2731b"  # of glyphs, legible on both grounds; text has its own in style.css
HISTORY: Final = "#8a94a6"
BAND: Final = "#5b8def"

CSS: Final = Path(__file__).with_name("style.css").read_text()
"""Of every pane, each of which is a world of its own to the browser."""

PAGE_CSS: Final = Path(__file__).with_name("page.css").read_text()
"""Of the page around them: the palette of both themes, which all panes inherit."""

_FONT: Final = "Roboto, 'Segoe UI', system-ui, -apple-system, 'Helvetica Neue', Arial, sans-serif"


def _palette(primary: str, paper: str, ground: str, text: str, dim: str, line: str) -> dict[str, Any]:
    return {
        "palette": {
            "primary": {"main": primary},
            "background": {"default": ground, "paper": paper},
            "text": {"primary": text, "secondary": dim},
            "divider": line,
        },
        "typography": {"fontFamily": _FONT, "fontSize": 13},
        "shape": {"borderRadius": 6},
        "components": {
            "MuiButtonBase": {"defaultProps": {"disableRipple": True}},
            "MuiToggleButton": {"styleOverrides": {"root": {"textTransform": "none", "padding": "5px 14px"}}},
        },
    }


THEME: Final = {
    "light": _palette("#2f5fd0", "#ffffff", "#f5f6f8", "#171b24", "#5a6475", "#e2e5eb"),
    "dark": _palette("#7ea6ff", "#151922", "#0e1118", "#e8ebf1", "#98a2b5", "#262c38"),
}
"""What the widgets and charts follow."""
