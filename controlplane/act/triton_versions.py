"""Which versions of a model a Triton serves: its `version_policy`, set by an override of the configuration.

Seen on Triton 2.51: a change of nothing but the policy loads the versions that are new to it, unloads those that it
leaves out and touches no other; where one of the new ones fails, those that served go on. A version that has no folder
is passed over without a word. The configuration that is read back is the highest version's, as it was when that was
loaded or changed last: its policy may be an old one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from controlplane.act.failures import classify
from controlplane.act.outcome import Done
from controlplane.act.triton_control import TritonControl
from controlplane.domain.decision import Action, Target
from controlplane.domain.errors import ActionError, ControlPlaneError, TargetUnreachableError
from controlplane.domain.failures import FailureClass
from controlplane.domain.instance_groups import with_total
from controlplane.domain.rollout import KeptConfigs

_NOT_THERE_REMEDY = "put its folder, named by the number, into the model repository of every server"

NOT_LOADED_REMEDY = "none needed: it is loaded first, and then asked for its versions again"
_STORE_REMEDY = "none needed: it is tried again; see the alert StoreFailing if it lasts"
_OF_THE_LOAD = (FailureClass.UNREACHABLE, FailureClass.TIMEOUT, FailureClass.SUPERSEDED)

Answers = Callable[[str], Awaitable[str]]
"""What is wrong with the answer of a version; empty: nothing, or nobody asks it."""


def with_versions(config: Mapping[str, Any], versions: Sequence[str]) -> dict[str, Any]:
    """The configuration with a policy of exactly these versions."""
    return {**config, "version_policy": {"specific": {"versions": list(versions)}}}


class Memory:
    """The configurations by which servers that restart load the versions that a rollout decided on.

    A policy of versions is part of a whole configuration, which Triton tells of loaded models only. A server of which
    none was kept gets that of another one, as long as it takes it. Without a `store` nothing is remembered. Raises
    ActionError of class SUPERSEDED, which is no version's fault, where the store fails.
    """

    def __init__(self, store: KeptConfigs | None) -> None:
        self._store = store
        self._own_only: set[tuple[str, str]] = set()

    async def keep(self, action: Action, config: Mapping[str, Any]) -> None:
        """Remember the configuration of the model before its versions are set."""
        if self._store is not None:
            with _stored():
                await self._store.keep(action.model, action.server, config)
            self._own_only.discard((action.model, action.server))

    async def of(self, action: Action) -> dict[str, Any] | None:
        """That with which the action loads the versions that it names; None: by the repository's own policy."""
        if self._store is None or not action.target.versions:
            return None
        with _stored():
            known = await self._store.kept(action.model, action.server)
            if known is None and (action.model, action.server) not in self._own_only:
                known = await self._store.kept_elsewhere(action.model)
        if known is None:
            return None
        instances = action.target.instances
        known = with_total(known, instances) if instances > 0 else known  # the room for more may be gone since
        return with_versions(known, action.target.versions)

    async def refused(self, action: Action, why: ActionError) -> None:
        """Forget one that the server does not take any more: with fewer GPUs than it had, or under another name."""
        if self._store is not None and why.failure is FailureClass.INVALID_CONFIGURATION:
            with _stored():
                await self._store.drop(action.model, action.server)
            self._own_only.add((action.model, action.server))


@contextmanager
def _stored() -> Iterator[None]:
    try:
        yield
    except ControlPlaneError as error:
        raise ActionError(f"nothing was done: {error}", FailureClass.SUPERSEDED, _STORE_REMEDY) from error


async def as_serving(
    control: TritonControl, model: str, config: Mapping[str, Any], target: Target
) -> Mapping[str, Any]:
    """The configuration with a policy of just the versions that serve, where a rollout or the policy itself lists some.

    Triton looks into the repository at each override: by the policy that was read back it would load what a rollout
    keeps away from there. Without a rollout that is the policy's will.
    """
    if not target.versions and "specific" not in config.get("version_policy", {}):
        return config
    ready = await control.ready_versions(model)
    return with_versions(config, ready) if ready else config


async def set_versions(
    control: TritonControl,
    model: str,
    before: Sequence[str],
    config: Mapping[str, Any],
    target: Target,
    send: Callable[[Mapping[str, Any]], Awaitable[None]],
    answers: Answers,
) -> Done:
    """Serve these versions, each with so many instances; a new one that does not answer a probe goes at once.

    `before` serve now, by `config` as it was read; `send` sends one. Raises ActionError; what served before does so on
    then.
    """
    config = with_total(config, target.instances)
    try:
        await send(with_versions(config, target.versions))
        await _check(control, model, before, target.versions, answers)
    except ActionError as error:
        # a load that is late may still come: the next step sees to that
        if error.failure is not FailureClass.TIMEOUT:
            with suppress(ActionError, TargetUnreachableError):  # the verdict stands, and the next step goes back too
                await send(with_versions(config, before))
        raise
    return Done(f"serves version {', '.join(target.versions)}; before: {', '.join(before)}")


async def _check(
    control: TritonControl, model: str, before: Sequence[str], wanted: Sequence[str], answers: Answers
) -> None:
    """Raises ActionError for a version that is not there, old ones too, and for a new one that does not answer.

    Triton takes a list of versions of which some are not in its repository, and drops those without a word.
    """
    there = await control.ready_versions(model)
    for version in wanted:
        if version not in there:
            message = f"version {version} of {model} is not in the model repository"
            raise ActionError(message, FailureClass.VERSION_NOT_AVAILABLE, _NOT_THERE_REMEDY)
    for version in wanted:
        if version in before:
            continue
        if why := await answers(version):
            failure, remedy = classify(why)
            # the load itself was answered, and is not to be tried again as one that was not
            failure = FailureClass.BACKEND if failure in _OF_THE_LOAD else failure
            raise ActionError(f"version {version} of {model} does not answer a probe: {why}", failure, remedy)
