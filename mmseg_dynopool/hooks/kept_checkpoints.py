"""The checkpoints that a run keeps, compared with its budget."""

from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.runner import Runner

from mmseg_dynopool.costs.budget import Outcome
from mmseg_dynopool.learning import BudgetKeeper
from mmseg_dynopool.models.whole_network import unwrap


class KeptCheckpoints:
    """The last and the best checkpoints of a run with a budget, and what they cost.

    Attributes:
        best: ``{path: cost}`` of those that ``CheckpointHook``s keep by ``save_best``.
    """

    def __init__(self) -> None:
        self.best: dict[str, float] = {}
        self._withheld: list[tuple[CheckpointHook, list[str]]] = []

    def withhold_best(self, runner: Runner, keeper: BudgetKeeper) -> None:
        """Let the validation that begins save no best checkpoint."""
        self._withheld = [(hook, hook.save_best) for hook in _saving_best(runner)]
        for hook, _ in self._withheld:
            hook.save_best = None
        if self._withheld:
            runner.logger.info(
                f'no best checkpoint yet: save_best begins when the scales have settled, at '
                f'{keeper.plan.settle:.0%} of the training')

    def release_best(self) -> None:
        """Undo `withhold_best`."""
        for hook, metrics in self._withheld:
            hook.save_best = metrics
        self._withheld = []

    def note_best(self, runner: Runner, keeper: BudgetKeeper) -> None:
        """Note the cost of the best checkpoints that a validation has saved."""
        paths = [path for hook in _saving_best(runner) for path in (
            getattr(hook, 'best_ckpt_path', None),
            *getattr(hook, 'best_ckpt_path_dict', {}).values()) if path]
        if set(paths) != set(self.best):
            outcome = _outcome(runner, keeper)
            self.best = {path: self.best.get(path, outcome.cost) for path in paths
                         } if outcome else {}

    def settle_averages(self, runner: Runner, keeper: BudgetKeeper) -> None:
        """Give moving averages the settled scales: they lag behind and would miss the budget."""
        assert keeper.settled is not None
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                averaged = dict(hook.ema_model.module.named_modules())
                for name, alpha in keeper.scales.alphas(keeper.settled).items():
                    averaged[name].set_alpha_(alpha)

    def tell(self, runner: Runner, keeper: BudgetKeeper, progress: float) -> None:
        """Log what the kept checkpoints cost, and what to do if they miss the budget."""
        outcome = _outcome(runner, keeper)
        if outcome is None:
            return
        if outcome.is_met:
            runner.logger.info(f'end of training: {outcome}')
        else:
            if keeper.settled is None:
                reason = (f'The training ended at {progress:.0%}, and the scales settle at '
                          f'{keeper.plan.settle:.0%} of it: resume it, end it later (early '
                          'stopping), or let the budget settle earlier, as by reach=0.2, '
                          'settle=0.4')
            elif keeper.is_coarse:
                reason = keeper.describe_settled()
            else:
                reason = ('The scales had settled at it, and something else has changed or '
                          'replaced DynOPools: see what other hooks do to them')
            runner.logger.warning(f'the budget is missed: {outcome}. {reason}')
        for path, cost in self.best.items():
            kept = outcome._replace(cost=cost)
            if not kept.is_met:
                runner.logger.warning(
                    f'{path} was saved before the scales had settled, and misses the budget: '
                    f'{kept}. Use the last checkpoint, or train with '
                    'DynOPoolHook(best_when_settled=True)')


def _outcome(runner: Runner, keeper: BudgetKeeper) -> Outcome | None:
    """What the network costs; only a warning, and None, if it can no longer be counted."""
    try:
        return keeper.outcome(unwrap(runner.model))
    except Exception as error:  # from any network, of any type
        runner.logger.warning('what the network costs now cannot be counted '
                              f'({type(error).__name__}: {error})')
        return None


def _saving_best(runner: Runner) -> list[CheckpointHook]:
    return [hook for hook in runner.hooks if isinstance(hook, CheckpointHook) and hook.save_best]
