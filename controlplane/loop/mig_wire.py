"""What carries out plans of MIG layouts, wired: through agents, or under the GPU operator."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

import structlog

from controlplane.act.mig.agents import MigAgents
from controlplane.collect.token_file import read_token
from controlplane.collect.worker import Worker
from controlplane.config.settings import Settings
from controlplane.decide.mig.settings import MigSettings
from controlplane.domain.fleet import Mode
from controlplane.domain.layouts import MigMemory
from controlplane.domain.mig import Slice
from controlplane.domain.records import AuditEntry
from controlplane.loop.clock import Clock
from controlplane.loop.mig_changer import MigChanger, Note
from controlplane.loop.mig_going import Hands
from controlplane.loop.mig_hands import ByAgents
from controlplane.loop.mig_nodes import ByNodes
from controlplane.loop.store_thread import StoreThread

log = structlog.get_logger(__name__)


def mig_changer(
    settings: Settings,
    clock: Clock,
    serves: Callable[[str, str, Slice], bool],
    may_act: Callable[[], bool],
    of_term: Callable[[], StoreThread],
) -> MigChanger | None:
    """None where the configuration lets nothing be changed. `of_term` as in `noted_in`."""
    mig = settings.mig
    if mig is None or mig.mode is not Mode.ACT:
        return None
    try:
        read_token(mig.token_file)
    except ValueError as error:  # no refusal: it is read anew for each request, and may come
        log.warning("no MIG layout can be changed yet", why=f"mig.{error}")
    urls = {a.name: _origin(a.url) for a in settings.fleet.agents if a.name in (mig.agents or ())}
    agents = MigAgents(urls, partial(read_token, mig.token_file), source=f"mig.token_file {mig.token_file}")
    hands = _hands(mig, agents, clock, serves)
    noting = partial(noted_in, of_term, clock)
    return MigChanger(hands, clock, may_act=may_act, rest_s=mig.every_s, most_s=mig.dwell_s, noting=noting)


def noted_in(of_term: Callable[[], StoreThread], clock: Clock) -> Note:
    """Notes in the store, in which `of_term` lets nobody write once this process leads no more or leads anew."""
    store = of_term()

    async def note(verb: str, detail: str, kept: MigMemory) -> None:
        entry = AuditEntry(clock(), "control plane", verb, "*", detail)
        await store.call(lambda s: s.keep_mig(kept, entry))

    return note


def _origin(url: str) -> str:
    """Of an agent, whose page is beside `/mig`."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _hands(mig: MigSettings, agents: MigAgents, clock: Clock, serves: Callable[[str, str, Slice], bool]) -> Hands:
    if mig.operator is None:
        return ByAgents(agents, agents, serves=serves, start_s=mig.start_s, plan_share=mig.max_plan_share)
    # its client takes long to import, and most have no use for it
    from controlplane.act.mig.operator.actuator import MigOperator  # noqa: PLC0415

    worker = Worker("controlplane-mig-operator")
    cutter = MigOperator(mig.operator, agents, worker, clock=clock)
    return ByNodes(cutter, agents, plan_share=mig.max_plan_share)
