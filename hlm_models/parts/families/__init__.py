"""Response families."""

from hlm_models.parts.families._contract import Family
from hlm_models.parts.shelf import find

__all__ = ["FAMILIES", "Family"]

FAMILIES = find(__name__, Family)
