"""The catalogue: GPUs, tiers, models, cloud instances, quantizations, engines and drivers, each figure with its source.

Adding an entry is adding a file to data/<kind>/, or, for one's own, to the file that a stack names.
"""

from slipway.catalog.load import Catalog, CatalogError, load
from slipway.catalog.types import DriverBranch, Engine, Gpu, Instance, Model, Quantization, Tier

__all__ = [
    "Catalog",
    "CatalogError",
    "DriverBranch",
    "Engine",
    "Gpu",
    "Instance",
    "Model",
    "Quantization",
    "Tier",
    "load",
]
