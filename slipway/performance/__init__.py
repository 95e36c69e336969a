"""How fast a model will be on given GPUs, what that costs, and which tier serves given users best."""

from slipway.performance.predict import predict
from slipway.performance.types import Prediction, PredictionError, Range, StepTime, Workload

__all__ = ["Prediction", "PredictionError", "Range", "StepTime", "Workload", "predict"]
