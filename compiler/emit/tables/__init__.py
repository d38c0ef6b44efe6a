"""Decision lists to tables in which a look-up costs the same whatever the number of rules."""

from .build import build
from .evaluate import evaluate
from .model import Tables
from .pool import TooLarge

__all__ = ["Tables", "TooLarge", "build", "evaluate"]
