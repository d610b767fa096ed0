"""docs/reference/failures.md, made from the failure table.

python -c "from controlplane.act.failures_page import failures_page; print(failures_page(), end='')"
"""

from __future__ import annotations

from controlplane.act.failure_table import TABLE, UNKNOWN_REMEDY

_HEAD = """# Failures and their remedies

Made from `controlplane/act/failure_table.py`; a test holds the two together. The first row whose pattern is found in a
server's message decides. Messages in no row are `unknown`: {unknown}.

Some faults come without any message: dynamic batching configured while `max_batch_size` is 0 or 1 (or not configured
while requests queue), and a TensorRT accelerator on a backend that ignores it. They are found in the model's
configuration and statistics (`silent_faults` in `controlplane/act/failures.py`).

| class | message (example) | remedy |
|---|---|---|
"""


def failures_page() -> str:
    """The page as Markdown."""
    rows = (f"| `{row.failure}` | `{_cell(row.example)}` | {_cell(row.remedy)} |" for row in TABLE)
    return _HEAD.format(unknown=UNKNOWN_REMEDY) + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
