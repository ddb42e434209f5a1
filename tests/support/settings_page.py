"""The tables of docs/reference/settings.md, made from the code: ``python -m tests.support.settings_page`` writes them in."""

from __future__ import annotations

import re
from pathlib import Path

from streamkit.config.catalogue import Setting, settings
from streamkit.config.sources import variable_of

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/settings.md"


def tables() -> dict[str, str]:
    """The table of each marked place."""
    engine = [each for each in settings().values() if each.field is not None]
    others = [each for each in settings().values() if each.field is None]
    return {
        "engine": table("field", "setting", [(each.field or "", _number(each), f"`{each.name}`", each.doc) for each in engine]),
        "others": table(
            "setting", "environment", [(each.name, _text(each), f"`{variable_of(each.name)}`", _doc(each)) for each in others]
        ),
    }


def table(first: str, third: str, rows: list[tuple[str, str, str, str]]) -> str:
    lines = [f"| `{name}` | {default} | {other} | {doc} |" for name, default, other, doc in rows]
    return "\n".join([f"| {first} | default | {third} | |", "|---|---|---|---|", *lines])


def filled(page: str) -> str:
    """The page with its tables as they should be."""
    for name, text in tables().items():
        place = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
        page, found = place.subn(lambda match, text=text: f"{match[1]}{text}\n{match[2]}", page)  # type: ignore[misc]
        if found != 1:
            raise ValueError(f"{PAGE.name} has {found} places for the table '{name}'")
    return page


def _number(setting: Setting) -> str:
    if setting.kind in ("text", "flag"):
        return f"`{setting.said(setting.default)}`"
    return setting.unset if setting.default is None else f"{setting.default:,}"


def _text(setting: Setting) -> str:
    return setting.unset if setting.default is None else f"`{setting.default}`"


def _doc(setting: Setting) -> str:
    choices = f": {', '.join(f'`{choice}`' for choice in setting.choices)}" if setting.choices else ""
    return f"{setting.doc}{choices}"


def main() -> None:
    PAGE.write_text(filled(PAGE.read_text()))
    print(PAGE.name)


if __name__ == "__main__":
    main()
