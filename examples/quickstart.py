"""A model of your own in thirty lines: will they click, will they buy?  quickstart.py FOLDER [SEED]"""

import sys

import numpy as np

from serinus.training import Category, Cyclic, Dataset, HardSharing, InputSpec, Number, export, fit, learn

random = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
n = 20_000
country = random.choice(["BR", "DE", "US"], n)
hour = random.integers(0, 24, n).astype(np.float32)
price = random.lognormal(3, 1, n).astype(np.float32)
appeal = (country == "BR") * 0.8 + np.sin(hour / 24 * 2 * np.pi) - 0.4 * (np.log(price) - 3)
click = (random.random(n) < 1 / (1 + np.exp(1.5 - appeal))).astype(np.float32)
buy = np.where(click == 1, random.random(n) < 1 / (1 + np.exp(1 - 2 * appeal)), np.nan)  # no click, no label

inputs = [
    InputSpec(name="country", datatype="BYTES", nullable=True),
    InputSpec(name="hour", datatype="FP32"),
    InputSpec(name="price", datatype="FP32", nullable=True),
]
rows = Dataset({"country": country, "hour": hour, "price": price}, {"click": click, "buy": buy})
train, validation = rows.split(0.8)
features = [Category("country"), Cyclic("hour", period=24), Number("price", log=True)]
trained = fit(
    train, validation, learn(features, inputs, train.raw), tasks=["click", "buy"], model=HardSharing(), progress=print
)
export(trained, sys.argv[1], validation=validation)
