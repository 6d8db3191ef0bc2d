"""Training a network on a folder of images: :func:`train`, with settings from :func:`settle`."""

from pipelines.train.data import Prepared, Taught
from pipelines.train.run import Started, TrainEvent, TrainReport, train
from pipelines.train.settle import settle

__all__ = ["Prepared", "Started", "Taught", "TrainEvent", "TrainReport", "settle", "train"]
