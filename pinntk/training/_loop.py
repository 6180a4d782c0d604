"""The training loop. `pinntk.train` sets it up."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk._util.interrupt import Interrupted
from pinntk._util.randomness import fork
from pinntk._util.stopwatch import own_stopwatch
from pinntk._util.threads import of_step, threads_for
from pinntk.diagnostics._progress import DESCENT
from pinntk.nn._constraint import met_by
from pinntk.ntk._factors import trained_parameters
from pinntk.problem import Problem
from pinntk.residuals import NonFiniteError, check_network
from pinntk.run import Run
from pinntk.run._callbacks import Callback, ask
from pinntk.run._early_stopping import EarlyStopping
from pinntk.run._snapshots import write_snapshot
from pinntk.training._averages import Averages
from pinntk.training._batch import Batch
from pinntk.training._chain_place import ChainPlace, same_points
from pinntk.training._checkpoint import Checkpoint, Stateful
from pinntk.training._config import TrainConfig
from pinntk.training._log import Log
from pinntk.training._logged_losses import LoggedLosses
from pinntk.training._loss_weights import LossWeights
from pinntk.training._losses import losses, over_all, weighted_sum
from pinntk.training._monitor import MonitorState
from pinntk.training._point_schemes import make_point_weights
from pinntk.training._point_weights import PointWeights
from pinntk.training._points import TrainingPoints, product
from pinntk.training._probe import Probe
from pinntk.training._updates import Losses, Update, make_update, share_of_time


class NonFiniteLossError(NonFiniteError):
    """A loss, or the kernel measured beside it, became NaN or infinite."""


class Training:
    """A training between two steps: points, weights, update, log and checkpoint, each of them an object of its own.

    on_step, on_log: functions of the run, called after each step, and after each row of the history

    Raises ValueError for points, a network or settings that do not fit the problem.
    """

    def __init__(
        self,
        config: TrainConfig,
        problem: Problem,
        network: nn.Module,
        run: Run,
        on_step: Sequence[Callback] = (),
        on_log: Sequence[Callback] = (),
    ):
        own = () if config.early_stopping is None else (config.early_stopping,)
        self._on_step, self._on_log, self._asked = on_step, (*on_log, *own), ""
        self.config, self.problem, self.network, self.run = config, problem, network, run
        self._parameters = parameters = list(trained_parameters(network, problem).values())
        distributed.same_everywhere(p.detach() for p in parameters)
        self.like = next(iter((*network.parameters(), *parameters))).detach()
        self.chain = ChainPlace(config.parts, self._begin_part)
        self.points = TrainingPoints(self.chain.config, network, problem)
        self._limit = None if config.seconds is None else distributed.agreed(config.seconds, self.like.device)
        check_network(network, problem, self.points.all)
        self.update = make_update(
            self.chain.config, network, problem, parameters, self.points, share_of_time(self._limit, config, run)
        )
        met = met_by(network)
        self._met = () if set(self.points.all) <= set(met) else met  # which no step can change; but something must be minimized
        self.loss_weights = LossWeights(config.weighting, problem, met)
        self.point_weights = make_point_weights(config, network, problem, self.points)
        self.probe = Probe(config, network, problem, parameters, self.points, self.point_weights)
        self.monitor = _monitor(config, run, self.points)
        self.averages = None if config.average is None else Averages(config.average, network, problem)
        run.averaged = None if self.averages is None else self.averages.network
        self.logged, self.log = LoggedLosses(network, problem, self._met, self.point_weights), Log(run, list(self.points.all))
        self.searching = any(update.searching for update in (self.update, *self._later_updates()))
        parts: dict[str, Stateful | None] = {
            "chain": self.chain,
            "update": self.update,
            "loss_weights": self.loss_weights,
            "point_weights": self.point_weights,
            "points": self.points,
            "averages": self.averages,
            "monitor": self.monitor,
        }
        device = self.like.device
        self.checkpoint = Checkpoint(run, self.probe, {k: v for k, v in parts.items() if v is not None}, device)
        self._batch = self._make_batch()
        self.work = of_step(network, problem, self.points.largest_share)
        self._clock = own_stopwatch()
        self._begun = self._clock()

    def _later_updates(self) -> Iterator[Update]:
        """Of a chain: what does not fit a later part is refused before the first one is trained."""
        for config in self.config.parts[1:]:
            points = TrainingPoints(config, self.network, self.problem)
            make_point_weights(config, self.network, self.problem, points)
            yield make_update(config, self.network, self.problem, self._parameters, points)

    def _begin_part(self, part: int) -> None:
        """Of a chain: its update, on its own points where these are others than those before; weights go on as they are."""
        config = self.config.parts[part]
        if not same_points(config, self.points.config, self.problem):
            self.points = self.probe.points = TrainingPoints(config, self.network, self.problem, self.chain.began)
        self.update = make_update(config, self.network, self.problem, self._parameters, self.points)
        self.checkpoint.parts |= {"update": self.update, "points": self.points}
        self._follow_points()

    @property
    def step(self) -> int:
        """Steps done."""
        return self.run.step

    @property
    def batch(self) -> Batch:
        """Of the step that is prepared."""
        return self._batch

    def loop(self, interrupted: threading.Event, progress: bool) -> None:
        self.begin()
        config = self.config
        with self.log.progress(config.steps, self._limit, progress, self._clock) as bar:
            while self.goes_on():
                with threads_for(self.work, self.update.work):
                    self.prepare()
                    logged = self.take_step()
                self.follow(logged)
                if logged and bar.shown:
                    bar.tell(self.log.summary(self.update.status()))
                bar.advance()
                if self._any(interrupted.is_set()):
                    self._interrupt()
                self.save_when_due()
            self.finish()
            bar.tell(self.log.summary(self.update.status()))

    # The loop's pieces, which a loop of several trainings has too.

    def begin(self) -> None:
        self._follow_points()  # those of a checkpoint, perhaps
        stopping = [function for function in (*self._on_log, *self._on_step) if isinstance(function, EarlyStopping)]
        if stopping and self.run.history:  # which may have ended there
            self._asked = ask(stopping, self.run)
        if self.step == 0 and self.config.checkpoint_every:
            self.save()  # what there is to examine where the first steps end in NaN
        self._begun = self._clock() - self.run.seconds

    def goes_on(self) -> bool:
        """Whether there is another step to take."""
        if self.step >= self.config.steps:
            return False
        self.run.stop_reason = self._reason_to_stop()  # also of a checkpoint
        return not self.run.stop_reason

    def follow(self, logged: bool) -> None:
        """Calls the functions that follow the training."""
        self._call([*(self._on_log if logged else ()), *self._on_step])

    def save_when_due(self) -> None:
        if _due(self.step, self.config.checkpoint_every) and self.step < self.config.steps:
            self.save()

    def non_finite(self, what: str) -> NonFiniteLossError:
        """What is raised where a number stops being finite."""
        path = self.checkpoint.path
        kept = "no checkpoint was written"
        if path is not None:
            kept = f"the last good checkpoint is {path}, which `pinntk diagnose {path.parent}` examines"
            self.checkpoint.mark(f"step {self.step}: {what}")
        return NonFiniteLossError(
            f"step {self.step}: {what}; {kept}. Lower the learning rate, or look for a logarithm, root or division in the "
            "operator"
        )

    @contextmanager
    def saying_where(self, whose: str = "") -> Iterator[None]:
        """Where a number stops being finite inside, NonFiniteLossError says at which step, and leaves it with the checkpoint.

        whose: of several trainings which one this is
        """
        try:
            yield
        except NonFiniteError as error:
            found = error if isinstance(error, NonFiniteLossError) else self.non_finite(str(error))
            if whose:
                found = NonFiniteLossError(f"{whose}: {found}")
            if found is error:
                raise
            raise found from error

    def _call(self, functions: Sequence[Callback]) -> None:
        """Functions of the user's: what they draw at random changes nothing of the training."""
        if functions:
            self._publish()
            with fork(self.like.device):
                self._asked = ask(functions, self.run)

    def take_step(self) -> bool:
        """The step that is prepared; whether it was logged."""
        columns = self._columns()
        monitored = self._look() if self.monitor and _due(self.step, self.monitor.every) else {}
        measured = {**(self._measure() if _due(self.step, self.config.eval_every) else {}), **monitored}
        if self.monitor:
            self.monitor.step(columns.get("learning_rate"), self._batch.weights)
        logged = bool(measured) or _due(self.step, self.config.log_every)
        met = self.logged.met(self.points) if logged else {}
        plain = self.logged.plain(self.points) if logged or self.loss_weights.sees_losses else {}
        found = self.update.step(self._batch, self._check_finite)
        if self.averages:
            self.averages.update()
        self.loss_weights.see({**found, **plain})
        self.run.seconds = self._passed()
        if logged:
            measured = self.logged.weighed(self.points, found) | measured
            self.log.add(self._time(columns), self._in_order({**found, **met}), plain, self._batch, measured)
        self.run.step += 1
        return logged

    def prepare(self) -> None:
        """Points, their weights and the loss weights of this step."""
        update = self.update
        if self.points.redraw(self.step, update.growth, update.adapting, update.hold):
            self._follow_points()
        if self.point_weights is not None:
            self._batch = self._weigh_points(self.point_weights)
            self.point_weights.advance()
        if _due(self.step, self.config.snapshot_every):
            self._snapshot()
        counts = {name: len(rows) for name, rows in self.probe.kernel_points.items()}
        batch = self._batch
        if not update.hold:
            self.loss_weights.update(self.step, lambda measures: self.probe.for_weights(measures, batch), counts)
        self._batch = Batch(batch.points, batch.counts, self.loss_weights.values, batch.point_weights)

    def _follow_points(self) -> None:
        if self.point_weights is not None:
            self.point_weights.set_points(self.points.all, self.points.share)
        self._batch = self._make_batch()
        self.work = of_step(self.network, self.problem, self.points.largest_share)

    def _make_batch(self, point_weights: Mapping[str, Tensor] | None = None) -> Batch:
        """Of the conditions that are trained: without those that the network meets by construction."""
        points = self.points
        weights = product(point_weights or {}, points.weights)
        share = {name: rows for name, rows in points.share.items() if name not in self._met}
        counts = {name: n for name, n in points.counts.items() if name not in self._met}
        own = {name: g for name, g in weights.items() if name not in self._met}
        return Batch(share, counts, self.loss_weights.values, own or None)

    def _in_order(self, losses: Losses) -> Losses:
        return {name: losses[name] for name in self.points.counts}

    def _weigh_points(self, point_weights: PointWeights) -> Batch:
        return self._make_batch(point_weights.compute(self.like.real.dtype))

    def _columns(self) -> dict[str, float]:
        weighed = self.point_weights.columns() if self.point_weights else {}
        return {**self.chain.columns(), **self.update.columns(), **weighed}

    def _time(self, columns: Mapping[str, float]) -> dict[str, float]:
        return {"step": self.step, "seconds": round(self.run.seconds, 3), **columns}

    def _measure(self) -> dict[str, float]:
        averaged = {}
        if self.averages:
            points = self.points.all
            averaged = self.averages.columns(points, self._batch.weights, self.points.weights_at(points))
        return {**self.probe.columns(), **averaged}

    def _look(self, at_the_end: bool = False) -> dict[str, float]:
        assert self.monitor is not None
        self._publish()
        monitor = self.monitor
        return distributed.of_first(lambda: monitor.look(at_the_end))

    def _check_finite(self, losses: Losses) -> None:
        if bool(torch.isfinite(weighted_sum(losses, self._batch.weights))):
            return
        bad = [name for name, loss in losses.items() if not bool(torch.isfinite(loss))]
        raise self.non_finite(f"the loss of {' and of '.join(map(repr, bad)) or 'the weighted sum'} is not finite")

    def _snapshot(self) -> None:
        if distributed.rank():
            return
        blocks = self.probe.snapshot()
        self.run.snapshots[self.step] = blocks
        if self.run.folder is not None:
            write_snapshot(self.run.folder, self.step, blocks)

    def _passed(self) -> float:
        """Seconds; where these end the training, the first process's in all, which then take the same steps."""
        own = self._clock() - self._begun
        return own if self._limit is None else distributed.agreed(own, self.like.device)

    # The end.

    def _reason_to_stop(self) -> str:
        """Why to stop before the last step; "" to go on."""
        limit = self._limit
        if limit is not None and self.run.seconds >= limit:
            return f"the time is up ({limit:.0f} s)"
        if (self._on_step or self._on_log) and self._any(bool(self._asked)):
            return self._asked or "another process asked for the end"
        return self.chain.reason_to_stop(self.step, self.update.stop_reason())

    def _any(self, flag: bool) -> bool:
        """Whether any process says so: all must stop at the same step."""
        return distributed.any_rank(flag, self.like.device)

    def _interrupt(self) -> None:
        self.save()
        folder = self.run.folder
        kept = "" if folder is None else f"; continue with: pinntk train --resume {folder}, or train(..., resume=True)"
        raise Interrupted(f"stopped after step {self.step} of {self.config.steps}{kept}")

    def finish(self) -> None:
        """The last row of the history, and the last checkpoint."""
        with threads_for(self.work, self.update.work):
            self._finish()

    def _finish(self) -> None:
        if self.point_weights is not None:
            self._batch = self._weigh_points(self.point_weights)
        trained = self._losses_now()
        self._check_finite(trained)
        found = self._in_order({**trained, **self.logged.met(self.points)})
        if self.config.snapshot_every:
            self._snapshot()
        monitored = self._look(at_the_end=True) if self.monitor else {}
        measured = {**self.logged.weighed(self.points, trained), **self._measure(), **monitored}
        self.log.add(self._time(self._columns()), found, self.logged.plain(self.points), self._batch, measured)
        self._call(self._on_log)
        self.save()

    def _losses_now(self) -> Losses:
        """Of the conditions that are trained, at the parameters as they are."""
        batch = self._batch
        with torch.no_grad():
            shares = losses(self.network, self.problem, batch.points, batch.counts, batch.point_weights) if batch.points else {}
        return over_all(shares, batch.counts, self.like.real)

    def save(self) -> None:
        """Unless the losses are not finite, as they may be although the parameters are: the last good checkpoint stays."""
        self._publish()
        if self.run.folder is None:
            return
        with fork(self.like.device):  # a network may draw random numbers, which a resumed training draws again
            finite = bool(torch.isfinite(weighted_sum(self._losses_now(), self._batch.weights)))
        if finite:
            self.checkpoint.save()

    def _publish(self) -> None:
        run = self.run
        run.weights, run.points = dict(self._batch.weights), dict(self.points.all)
        run.point_weights = self._all_point_weights()
        run.initial = self.probe.initial
        run.monitor = None if self.monitor is None else distributed.of_first(self.monitor.report)

    def _all_point_weights(self) -> dict[str, Tensor]:
        """As in the batch, of the points of all processes."""
        own = self._batch.point_weights or {}
        if distributed.world() == 1:
            return dict(own)
        weighed = {*self.points.all_weights, *(() if self.point_weights is None else self.point_weights.names)}
        sizes = {name: n for name, n in self._batch.counts.items() if name in weighed}
        return {name: g.to(self.like.real) for name, g in distributed.unshard(own, sizes, self.like.device).items()}


def _monitor(config: TrainConfig, run: Run, points: TrainingPoints) -> MonitorState | None:
    if config.monitor is None:
        return None
    pointwise = config.causal is not None or config.point_scheme is not None
    plain = all(part.optimizer_name in DESCENT and not part.optimizer_options and part.clip is None for part in config.parts)
    predicts = not any(part.solver for part in config.parts) and not pointwise and config.combiner is None
    return MonitorState(config.monitor, run, points.all, steps=config.steps, plain_descent=plain, predicts=predicts)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
