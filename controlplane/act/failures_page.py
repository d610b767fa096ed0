"""docs/reference/failures.md, made from the failure table.

python -c "from controlplane.act.failures_page import failures_page; print(failures_page(), end='')"
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.act.failure_table import TABLE, UNKNOWN_REMEDY, Row
from controlplane.act.kubernetes.failures import KUBERNETES_TABLE
from controlplane.act.mig.operator.failures import OPERATOR_TABLE
from controlplane.act.ollama_failures import OLLAMA_TABLE
from controlplane.act.vllm_failures import VLLM_TABLE
from controlplane.domain.failures import FailureClass

_HEAD = """# Failures and their remedies

Made from the failure tables in `controlplane/act`; a test holds them together. The first row whose
pattern is found in a server's message decides. Messages in no row are `unknown`: {unknown}.

Some faults come without any message: dynamic batching configured while `max_batch_size` is 0 or 1 (or not configured
while requests queue), and a TensorRT accelerator on a backend that ignores it. They are found in the model's
configuration and statistics (`silent_faults` in `controlplane/act/failures.py`).

A step that was left off in the middle, since another control plane may lead by now, is `superseded` too, and says which
write was left undone.

Each class was raised on a real Triton 2.51 without a GPU. Memory that runs out is CUDA's words from a Python model,
and TensorRT is missing from it; what Triton says of a superseded load was read in its source, not heard.

Again: a step that failed so is tried again. *At once* is within the step, a few seconds apart (`act.retries`), and then
after the back-off as any other; *later* is only after the back-off (`policy.back_off_min`, doubling), decided afresh by
what the server shows then.

## Triton

"""
_TABLE_HEAD = "| class | message (example) | again | remedy |\n|---|---|---|---|\n"


def failures_page() -> str:
    """The page as Markdown."""
    parts = (
        ("vLLM", VLLM_TABLE),
        ("Ollama", OLLAMA_TABLE),
        ("Kubernetes", KUBERNETES_TABLE),
        ("MIG under the GPU operator", OPERATOR_TABLE),
    )
    page = f"{_HEAD.format(unknown=UNKNOWN_REMEDY)}{_table(TABLE)}"
    return page + "".join(f"\n## {title}\n\n{_table(table)}" for title, table in parts)


def _table(table: Iterable[Row]) -> str:
    rows = (
        f"| `{row.failure}` | `{_cell(row.example)}` | {_again(row.failure)} | {_cell(row.remedy)} |\n" for row in table
    )
    return _TABLE_HEAD + "".join(rows)


def _again(failure: FailureClass) -> str:
    return "at once" if failure.transient else "later"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
