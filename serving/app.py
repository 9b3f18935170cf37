"""The Ray Serve application of a pool: three generic deployments, whatever the models are.

`serve.ingress` pickles its class by value: logic lives in other modules, and nothing unpicklable is global here."""

from __future__ import annotations

from typing import Any

from ray import serve

from serving.applied import Group
from serving.ask import Output, Tensor
from serving.autoscaling import BusyMeter, options
from serving.calls import ShadowBatch
from serving.frontdoor import Door
from serving.http import App
from serving.replicas import Scorer, ShadowScorer
from serving.settings import Settings
from serving.throttle import Throttle, yield_the_cpu

APPLICATION = "serinus"
COMMON: dict[str, Any] = {
    "ray_actor_options": {"num_cpus": 0},
    "health_check_period_s": 1.0,
    "health_check_timeout_s": 10.0,
    "graceful_shutdown_timeout_s": 5.0,
    "graceful_shutdown_wait_loop_s": 0.2,
    "logging_config": {"enable_access_log": False, "log_level": "WARNING"},
}


@serve.ingress()
class FrontDoor:
    """Takes HTTP requests and answers them with the stable versions, in this process."""

    async def __init__(self, settings: Settings, candidate: Any, shadow: Any) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        async def ask(inputs: dict[str, Tensor], groups: tuple[Group, ...], entity: str) -> list[Output]:
            outputs: list[Output] = await candidate.infer.remote(inputs, groups, entity)
            return outputs

        async def score(batch: ShadowBatch) -> int:
            unrecorded: int = await shadow.score.remote(batch)
            return unrecorded

        from serving.grpc_service import GrpcFace  # noqa: PLC0415 (its messages cannot be pickled by value)

        self._door = Door(settings, ask, score)
        self._grpc = GrpcFace(self._door)
        self._busy = BusyMeter()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        return self._busy.share()

    def __serve_build_asgi_app__(self) -> App:
        return App(self._door)

    # gRPC: Ray Serve looks for a method of the rpc's name, and hands over its context where one is asked for.

    async def ServerLive(self, request: bytes, grpc_context: Any) -> Any:  # noqa: N802
        return await self._grpc.call("ServerLive", request, grpc_context)

    async def ServerReady(self, request: bytes, grpc_context: Any) -> Any:  # noqa: N802
        return await self._grpc.call("ServerReady", request, grpc_context)

    async def ModelReady(self, request: bytes, grpc_context: Any) -> Any:  # noqa: N802
        return await self._grpc.call("ModelReady", request, grpc_context)

    async def ServerMetadata(self, request: bytes, grpc_context: Any) -> Any:  # noqa: N802
        return await self._grpc.call("ServerMetadata", request, grpc_context)

    async def ModelMetadata(self, request: bytes, grpc_context: Any) -> Any:  # noqa: N802
        return await self._grpc.call("ModelMetadata", request, grpc_context)

    async def ModelInfer(self, request: bytes, grpc_context: Any) -> Any:  # noqa: N802
        return await self._grpc.call("ModelInfer", request, grpc_context)


class Candidate:
    """Answers canary calls. It may crash, hang or eat its memory: front doors then answer from stable."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        self._scorer = Scorer("candidate", settings)
        self._busy = BusyMeter()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        return self._busy.share()

    async def check_health(self) -> None:
        self._scorer.check()

    async def infer(self, inputs: dict[str, Tensor], groups: tuple[Group, ...], entity: str) -> list[Output]:
        return self._scorer.outputs(inputs, groups, entity)


class Shadow:
    """Scores copies of requests that were answered already, with what the CPU has left."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        yield_the_cpu()
        self._scorer = ShadowScorer(settings)
        self._throttle = Throttle(settings.shadow_cpu)

    async def check_health(self) -> None:
        self._scorer.check()

    async def score(self, batch: ShadowBatch) -> int:
        async with self._throttle:
            return self._scorer.score(batch)


def application(settings: Settings, *, spread: bool = False) -> Any:
    """The application to `serve.run`, under `APPLICATION`. `spread`: each replica in a pod of its role."""
    candidate = serve.deployment(
        Candidate, name="Candidate", max_ongoing_requests=4, max_queued_requests=4, **_common("candidate", spread)
    ).options(**options(settings, *settings.candidates))
    shadow = serve.deployment(
        Shadow, name="Shadow", max_ongoing_requests=4 * settings.front_doors[1], **_common("shadow", spread)
    )
    front = serve.deployment(
        FrontDoor, name="FrontDoor", max_ongoing_requests=256, **_common("front_door", spread)
    ).options(**options(settings, *settings.front_doors))
    return front.bind(settings, candidate.bind(settings), shadow.bind(settings))


def _common(role: str, spread: bool) -> dict[str, Any]:
    """Spread, a replica takes the one unit of its role's resource that Ray knows of in a pod: so one in each."""
    return {**COMMON, "ray_actor_options": {"num_cpus": 0, "resources": {role: 1}}} if spread else COMMON
