"""Training multi-task models and exporting them as packages.

Declare features, learn the preprocess graph, fit, export. Needs `pip install "serinus[training]"`. Never talks to
a server: `serinus push` does that.
"""

from serinus.tasks import InputSpec
from serinus.training.architectures import Architecture, HardSharing, MMoE, MultiTaskNetwork
from serinus.training.data import Dataset, batches
from serinus.training.describe import Description, InputSaid, TaskSaid
from serinus.training.export import export
from serinus.training.features import Category, Cyclic, Derived, Feature, Lookup, Number
from serinus.training.metrics import AnyQuality, MulticlassQuality, Quality, RegressionQuality, auc, quality, quality_of
from serinus.training.modules import package
from serinus.training.preprocess import Preprocess, learn
from serinus.training.scalarizers import FixedWeights, Scalarizer, UncertaintyWeights
from serinus.training.targets import Learnt, Target
from serinus.training.trainer import Epoch, Trained, fit
from serinus.training.wrap import wrap

__all__ = [
    "AnyQuality",
    "Architecture",
    "Category",
    "Cyclic",
    "Dataset",
    "Derived",
    "Description",
    "Epoch",
    "Feature",
    "FixedWeights",
    "HardSharing",
    "InputSaid",
    "InputSpec",
    "Learnt",
    "Lookup",
    "MMoE",
    "MultiTaskNetwork",
    "MulticlassQuality",
    "Number",
    "Preprocess",
    "Quality",
    "RegressionQuality",
    "Scalarizer",
    "Target",
    "TaskSaid",
    "Trained",
    "UncertaintyWeights",
    "auc",
    "batches",
    "export",
    "fit",
    "learn",
    "package",
    "quality",
    "quality_of",
    "wrap",
]
