"""The lecture's data-based prior of a covariance."""

from typing import ClassVar, Literal

from hlm_models.parts.covariances._contract import Covariance, Structure


class UnitInformation(Covariance):
    """About as informative as one group: worked out from the data by `spec.unit_information`.

    It becomes inverse Wishart, or independent inverse gammas where the effects of a term are
    independent. Only a name in a model file: the resolved model has the prior that it stands for.
    """

    correlated: ClassVar[bool] = True
    structure: ClassVar[Structure] = "unstructured"
    recipe: ClassVar[bool] = True
    kind: Literal["unit_information"] = "unit_information"
