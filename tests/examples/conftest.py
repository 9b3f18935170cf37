import polars as pl
import pytest

from examples.flights import data, features, labels
from examples.flights.data import Tables


@pytest.fixture(scope="session")
def tables() -> Tables:
    return data.load()


@pytest.fixture(scope="session")
def truth(tables: Tables) -> pl.DataFrame:
    return labels.labels(tables.flights)


@pytest.fixture(scope="session")
def year(tables: Tables) -> pl.DataFrame:
    """The features of all flights."""
    return features.features(tables)
