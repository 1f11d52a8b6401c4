"""KaTeX, run when the site is built: a page shows its formulas without a script, and a formula that KaTeX refuses is an error
of the build.

What is folded away is set by the page's script when it is unfolded: there is too much of it to be carried along.
"""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

from derive.errors import DeriveError
from derive.render.html import HERE

_PLACE = re.compile(r'(<(?:div|span)[^>]*\bdata-tex="(display|inline)"[^>]*>)(.*?)(</(?:div|span)>)', re.DOTALL)
_EVERY = re.compile(_PLACE.pattern.replace("data-tex", "data-(?:tex|later)"), re.DOTALL)
_TYPESET = """
(formulas) => JSON.stringify(JSON.parse(formulas).map(([kind, tex]) => {
  try {
    const strict = (code) => code === "unknownSymbol" ? "ignore" : "error";  // a sentence may hold any character
    return [katex.renderToString(tex, { displayMode: kind === "display", strict, trust: false }), null];
  } catch (error) {
    return [null, String(error.message)];
  }
}))
"""


def typeset(body: str) -> str:
    """The page with every formula set.  Raises `DeriveError` with what KaTeX refuses, and why."""
    wanted = list(dict.fromkeys((found[2], unescape(found[3]).strip()) for found in _EVERY.finditer(body)))
    done = dict(zip(wanted, _set(wanted), strict=True))
    return _PLACE.sub(lambda found: found[1] + done[found[2], unescape(found[3]).strip()] + found[4], body)


def later(body: str) -> str:
    """The same formulas, left to the page's script; they are tried all the same."""
    return body.replace(' data-tex="', ' data-later="')


def _set(wanted: list[tuple[str, str]]) -> list[str]:
    if not wanted:
        return []
    with _engine()() as context:  # one that is left to the end of the process can keep it from ending
        context.eval((HERE / "katex" / "katex.min.js").read_text(encoding="utf-8"))
        found = json.loads(context.eval(f"({_TYPESET})({json.dumps(json.dumps(wanted))})"))
    for (_, tex), (_, complaint) in zip(wanted, found, strict=True):
        if complaint is not None:
            raise DeriveError(f"KaTeX refuses {tex!r}: {complaint}")
    return [html for html, _ in found]


def _engine() -> Any:
    try:
        from py_mini_racer import MiniRacer
    except ImportError:
        raise DeriveError("the site needs mini-racer, which runs KaTeX: pip install 'derive-bptt[docs]'") from None
    return MiniRacer
