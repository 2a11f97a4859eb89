"""The block of a grouping factor, by its name."""

from hlm_models.design.build import Design, RandomBlock
from hlm_models.errors import InputErrors, nearest

__all__ = ["find_block"]


def find_block(design: Design, group: str | None, *, key: str = "group") -> RandomBlock:
    """The block named `group`; without a name, the only one.

    Parameters
    ----------
    key : what a problem with the name is keyed by

    Raises
    ------
    InputErrors
        there is no such group, none at all, or there are several and none is named.
    """
    known = {block.group: block for block in design.blocks}
    if not known:
        raise InputErrors.one(
            "this takes a model with a group, and the formula of this one has no random term: add "
            "one, such as (1 | group)",
            key=key,
        )
    names = ", ".join(known)
    if group is None and len(known) > 1:
        raise InputErrors.one(f"the model has several groups, name one of them: {names}", key=key)
    if group is None:
        return design.blocks[0]
    # What is no text may not be hashable either.
    if group not in list(known):
        raise InputErrors.one(
            f"{group!r} is not a group of this model{nearest(group, known)} (groups: {names})",
            key=key,
        )
    return known[group]
