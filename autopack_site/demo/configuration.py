"""The demo's autopack.yaml: the committed template, with this machine's absolute paths filled in."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from autopack_site.demo.library import DEMO, Parts

TEMPLATE = DEMO / "autopack.yaml"
PLAN = DEMO / "comprehensive_plan.md"
_NAME = re.compile(r"\{\{(\w+)\}\}")


def configuration(parts: Parts) -> str:
    """Return the text of the project's configuration."""
    return fill(
        TEMPLATE.read_text(encoding="utf-8"),
        {
            "python": str(Path(sys.prefix) / "bin" / "python"),
            "chain": sys.prefix,
            "demo": str(DEMO),
            "wheels": str(parts.wheel.parent),
            "dependency": str(parts.wheel),
        },
    )


def fill(template: str, values: dict[str, str]) -> str:
    """Replace `{{name}}` by its value. The values stay one YAML scalar each, whatever they hold.

    A scalar is quoted as a whole, so a name may stand alone or inside a word. Raises KeyError for an unknown
    name.
    """
    lines = []
    for line in template.splitlines():
        if line.lstrip().startswith("#"):
            lines.append(line)
            continue
        lines.append(
            re.sub(r'"[^"]*\{\{\w+\}\}[^"]*"|[^\s\[\],]*\{\{\w+\}\}[^\s\[\],}]*', _quoted(values), line)
        )
    return "\n".join(lines) + "\n"


def _quoted(values: dict[str, str]) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        word = match[0].strip('"')
        return json.dumps(_NAME.sub(lambda name: values[name[1]], word))

    return replace
