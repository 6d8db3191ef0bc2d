"""What a network is: the table of models, their forms and their weights."""

from vsr.models.registry import MODELS, LoadedModel, ModelSpec, load_model, model_spec

__all__ = ["MODELS", "LoadedModel", "ModelSpec", "load_model", "model_spec"]
