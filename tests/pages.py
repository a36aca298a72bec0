"""Tables of the documentation that repeat a registry; VMQTUI_UPDATE_SNAPSHOTS writes them."""

import os
import re
from pathlib import Path


def check_section(page: Path, section: str, made: str) -> None:
    """Compare what stands between the marks of a section with what was made of the registry, or write it."""
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {section} -->\n).*?(<!-- /{section} -->)", re.DOTALL)
    expected = pattern.sub(lambda found: f"{found[1]}\n{made}\n\n{found[2]}", text)
    if os.environ.get("VMQTUI_UPDATE_SNAPSHOTS"):
        page.write_text(expected, encoding="utf-8", newline="\n")
        return
    assert text == expected
