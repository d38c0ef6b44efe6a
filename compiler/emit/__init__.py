"""Decision lists to a plan, and the plan to C."""

from .csource import generate
from .plan import Plan, make_plan

__all__ = ["Plan", "generate", "make_plan"]
