"""The lecture's data-based prior of a coefficient or of sigma."""

from typing import ClassVar, Literal

from hlm_models.parts.priors._contract import Place, Prior


class UnitInformation(Prior):
    """About as informative as one group: worked out from the data by `spec.unit_information`.

    A coefficient becomes normal, sigma^2 inverse gamma. Only a name in a model file: the resolved
    model has the prior that it stands for, with its numbers.

    Source: Kass and Wasserman (1995), doi:10.1080/01621459.1995.10476592, for the idea.
    """

    places: ClassVar[frozenset[Place]] = frozenset({"location", "scale"})
    recipe: ClassVar[bool] = True
    kind: Literal["unit_information"] = "unit_information"
