"""What the documentation promises to cover is what the code has."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from django.conf import settings

from tests.site.error_codes import every_code, in_source

DOCS = Path(settings.BASE_DIR) / "docs"
TROUBLE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^\| `([\w.-]+)` \| ([^|]+) \| ([^|]+) \|$", TROUBLE, re.MULTILINE)


def test_every_code_has_its_entry_under_troubleshooting():
    assert sorted(every_code() - {code for code, _, _ in ENTRIES}) == []


def test_every_entry_says_what_happened_and_what_to_do_once():
    assert [code for code, count in Counter(code for code, _, _ in ENTRIES).items() if count > 1] == []
    for code, meaning, advice in ENTRIES:
        assert len(meaning.split()) >= 3, code
        assert advice.strip(), code


@pytest.mark.parametrize(
    ("source", "codes"),
    [
        ('fail_phase(p, Cause.GATE, "some-code", "why")', {"some-code"}),
        ('_Failure(f"{who}-late", "why")', {"builder-late", "auditor-late"}),
        ('code, reason = "one-code", "why"', {"one-code"}),
        ('move(p, "skipped", failure_code="other-code")', {"other-code"}),
        ('log.info("gate.done", reason="no-code")', set()),
    ],
)
def test_codes_are_found_in_every_form_that_the_code_gives_them(source, codes):
    assert in_source(source) == codes
