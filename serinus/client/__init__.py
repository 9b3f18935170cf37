"""The client: what a program does with Serinus, by the names of the commands that a person types.

    client = Client()                        # finds the local stack of `serinus up`
    version = client.push("ads", folder)
    client.rollout_start("ads", version.version)
    answer = client.infer("ads", {"age": [31.0], "country": ["BR"]}, entity="user-7")
    client.labels("ads", [Label(answer.id, "click", 1)])

`AsyncClient` is the same for programs that await: `async with AsyncClient() as client: await client.models()`.
Both speak HTTP to the controller and to the serving side, and never import a room.
"""

from serinus.client.aio.client import AsyncClient
from serinus.client.blocking.client import Client
from serinus.client.views import Answer, Label, LabelsAnswer, ModelView, Ranking, Refusal, VersionView, WeightsView

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "Label",
    "LabelsAnswer",
    "ModelView",
    "Ranking",
    "Refusal",
    "VersionView",
    "WeightsView",
]
