"""What the routes of reports and of entries share: who may call, what is named, and bodies that are files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework import serializers
from rest_framework.parsers import BaseParser

from autopack_site.kernel.auth import Role
from issues.errors import BacklogEntryNotFound
from issues.models import BacklogEntry, with_ages
from issues.search import with_votes
from runs import rows
from runs.api.fields import Text
from runs.api.parsers import BoundedJSONParser, too_large
from runs.api.views import AgentView
from runs.errors import PhaseNotFound
from runs.models import Phase

REPORTERS = (Role.BUILDER, Role.AUDITOR, Role.VERIFIER)
MAX_DOCUMENT_CHARS = 32 * 1024 * 1024


class ReportView(AgentView):
    """A view for whoever sees problems in a phase, also after it has ended."""

    allowed_roles = REPORTERS

    def named_phase(self, run_id: str, phase_id: str) -> Phase:
        """Return the phase with its run and tier. Raises RunNotFound, or PhaseNotFound in the contract's words."""
        try:
            return self.require_phase(run_id, phase_id)
        except PhaseNotFound:
            raise self._missing(run_id, phase_id) from None

    def key_of_phase(self, run_id: str, phase_id: str) -> int:
        """Return the phase's primary key, which is all that a report needs. Raises the same."""
        phase = rows.phase_placed.first(run_id, phase_id)
        if phase is None or self.caller.project_scope not in (None, phase.run.project.project_id):
            raise self._missing(run_id, phase_id)
        return phase.pk

    def _missing(self, run_id: str, phase_id: str) -> PhaseNotFound:
        self.require_run(run_id)
        return PhaseNotFound(f"Phase {phase_id} not found in run {run_id}")


class EntryView(AgentView):
    """A view of one entry of a backlog."""

    def require_entry(self, entry_id: int) -> BacklogEntry:
        """Return the entry with its project; raise BacklogEntryNotFound, also for one that the token may not see.

        One that was merged into another is found too: its history is its own.
        """
        rows = with_votes(with_ages(BacklogEntry.with_merged.select_related("project")))
        entry = rows.filter(pk=entry_id).first()
        if entry is None or self.caller.project_scope not in (None, entry.project.project_id):
            raise BacklogEntryNotFound(f"Backlog entry {entry_id} not found")
        return entry


class DocumentIn(serializers.Serializer[Any]):
    """A file's text, for clients that send JSON only."""

    document = Text(max_length=MAX_DOCUMENT_CHARS)


class FileParser(BaseParser):
    """Takes a body as it is, bounded as every other body. Raises BodyTooLarge."""

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the bytes."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        raw: bytes = stream.read(limit + 1)
        if len(raw) > limit:
            raise too_large()
        return raw


class CsvParser(FileParser):
    """`text/csv`."""

    media_type = "text/csv"


class XmlParser(FileParser):
    """`application/xml`."""

    media_type = "application/xml"


class TextXmlParser(FileParser):
    """`text/xml`, as older tools say."""

    media_type = "text/xml"


class FileView(ReportView):
    """A view that takes a file: its text as the body, or within a JSON object."""

    parser_classes = [CsvParser, BoundedJSONParser]

    def document(self) -> bytes:
        """Return the file. Raises Invalid."""
        data: Any = self.request.data
        return data if isinstance(data, bytes) else self.body(DocumentIn)["document"].encode()
