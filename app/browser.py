"""The browser's side of a session: its address (both ways), its theme, and whether anybody looks at it."""

from pathlib import Path

import panel as pn
import param


class Browser(pn.custom.JSComponent):
    """One a page. Ages (`components.age`) go on by it as well."""

    query = param.String(doc="what follows the path in the address, with its question mark; empty = nothing")
    dark = param.Boolean(doc="whether the dark theme is on")
    hidden = param.Boolean(doc="whether the page lies in the background")
    now = param.Number(doc="the server's clock when the page was made, ms since 1970; 0 = ages stand still")

    _esm = Path(__file__).with_name("browser.js").read_text()
