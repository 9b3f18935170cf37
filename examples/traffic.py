"""Fourteen days of made-up traffic for the quickstart's model, in event time, with labels that come late.

    python examples/traffic.py MODEL

It needs a rollout of the model, goes no faster than the evidence follows, and stops when the rollout has ended.
"""

import sys
import time

import numpy as np

from serinus.client import Client, Label
from serinus.rollouts import ENDS

HOUR_MS, HOURS, VISITS, ROWS = 3_600_000, 14 * 24, 8, 16


def main(model: str) -> None:
    client, random, later = Client(), np.random.default_rng(7), list[Label]()
    rollout = client.model(model).rollout
    if rollout is None:
        raise SystemExit(f"{model} has no active rollout: serinus rollout start {model} VERSION")
    start_ms = (int(time.time() * 1000) // HOUR_MS - HOURS - 24) * HOUR_MS
    for hour in range(HOURS):
        hour_ms = start_ms + hour * HOUR_MS
        for _ in range(VISITS):
            at_ms = hour_ms + int(random.integers(0, HOUR_MS))
            country = str(random.choice(["BR", "DE", "US"]))
            price = random.lognormal(3, 1, ROWS)
            seen = {"country": [country] * ROWS, "hour": [hour % 24] * ROWS, "price": price.tolist()}
            answer = client.infer(model, seen, entity=f"user-{random.integers(2_000)}", event_time_ms=at_ms)
            appeal = (country == "BR") * 0.8 + np.sin(hour % 24 / 24 * 2 * np.pi) - 0.4 * (np.log(price) - 3)
            for index in np.flatnonzero(random.random(ROWS) < 1 / (1 + np.exp(1.5 - appeal))):
                later.append(Label(answer.id, "click", 1, int(index), at_ms + 600_000))
                if random.random() < 1 / (1 + np.exp(1 - 2 * appeal[index])):
                    later.append(Label(answer.id, "buy", 1, int(index), at_ms + 20 * HOUR_MS))
        now_ms = hour_ms + HOUR_MS
        client.labels(model, [label for label in later if (label.known_ms or 0) < now_ms], ("shop", now_ms))
        later = [label for label in later if (label.known_ms or 0) >= now_ms]
        if client.evidence_wait(rollout, now_ms - 6 * HOUR_MS).phase in ENDS:
            break


if __name__ == "__main__":
    main(*sys.argv[1:])
