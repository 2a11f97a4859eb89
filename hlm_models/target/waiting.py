"""Waiting for nutpie's chains: what they tell meanwhile, and how they end."""

from collections.abc import Callable
from typing import Any

from hlm_models.config.settings import Sampling
from hlm_models.errors import FitError
from hlm_models.results.progress import ChainStep, Progress, Step

__all__ = ["teller", "wait"]


def teller(settings: Sampling, progress: Progress) -> Callable[[list[Any]], None]:
    """What nutpie calls with the state of its chains."""

    def tell(states: list[Any]) -> None:
        chains = tuple(
            ChainStep(
                done=one.finished_draws,
                total=one.total_draws,
                tuning=one.tuning,
                divergences=one.divergences,
                step_size=one.step_size,
                gradients=one.latest_num_steps,
            )
            for one in states
        )
        progress(
            Step(
                "sampling",
                done=sum(one.done for one in chains),
                total=settings.chains * (settings.draws + settings.tune),
                divergences=sum(one.divergences or 0 for one in chains),
                chains=chains,
            )
        )

    return tell


def wait[Result](poll: Callable[[], Result], abort: Callable[[], object]) -> Result:
    """What `poll`, which raises TimeoutError until all chains are done, gives; Ctrl-C ends them.

    Raises
    ------
    FitError
        no point to start from was found, or a chain broke.
    """
    try:
        while True:
            try:
                return poll()
            except TimeoutError:
                continue
    except KeyboardInterrupt:
        # Wherever it came: between two polls too.
        abort()
        raise
    except RuntimeError as error:
        raise FitError(f"the sampler stopped: {str(error).splitlines()[0]}") from error
