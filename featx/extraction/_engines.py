"""Makers of the shards: this process, or the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import joblib

from featx._progress import Advance
from featx._silence import import_tensorflow
from featx._specs import require_equal
from featx.backbones import Backbone
from featx.backbones._device import gpu_count
from featx.backbones._load import load_recipe
from featx.backbones._spec import BackboneRecipe
from featx.errors import FeatxError, InputError
from featx.extraction._pipeline import Job, Pipeline, ShardResult
from featx.extraction._shard_tasks import ShardTask
from featx_cache._text import first_line

CONNECT_SECONDS = 10
WORKERS_SECONDS = 120


class Engine(Protocol):
    """Something that makes shards."""

    def run(
        self, tasks: Sequence[ShardTask], job: Job, backbone: Backbone, advance: Advance
    ) -> Generator[ShardResult, None, None]:
        """Make shards in any order, and yield the result of each."""


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Make the shards in this process, one after another: the default.

    Examples
    --------
    >>> from featx.extraction import ExtractionOptions, LocalEngine
    >>> ExtractionOptions().engine == LocalEngine()
    True
    """

    def run(
        self, tasks: Sequence[ShardTask], job: Job, backbone: Backbone, advance: Advance
    ) -> Generator[ShardResult, None, None]:
        """Make shards in their order, and yield the result of each."""
        return Pipeline(job, backbone).run(tasks, advance)


@dataclass(frozen=True, slots=True)
class DaskEngine:
    """Let the workers of a Dask cluster make the shards.

    A shard whose worker dies goes to another. The workers need featx, and the images and the cache
    folder under the same paths.

    Attributes
    ----------
    scheduler
        Address of the cluster's scheduler, such as ``tcp://10.0.0.5:8786``. None starts a cluster
        on this machine and stops it at the end.
    workers
        Number of processes of the cluster that is started. None takes one a GPU, or two without a
        GPU.

    Examples
    --------
    >>> from featx.extraction import DaskEngine, ExtractionOptions
    >>> ExtractionOptions(engine=DaskEngine(workers=4)).engine
    DaskEngine(scheduler=None, workers=4)
    """

    scheduler: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise InputError(
                f"`workers` must be at least 1, not {self.workers}", parameter="workers"
            )
        if self.workers is not None and self.scheduler is not None:
            raise InputError(
                "`workers` can't be had with `scheduler`",
                "Start the workers of your own cluster with `dask worker ADDRESS`.",
            )

    def run(
        self, tasks: Sequence[ShardTask], job: Job, backbone: Backbone, advance: Advance
    ) -> Generator[ShardResult, None, None]:
        """Make shards on the cluster, and yield their results in the order of finishing.

        Raises
        ------
        InputError
            If Dask isn't installed or the scheduler can't be reached.
        FeatxError
            If the workers of one shard died again and again, or a shard raised it.
        """
        with self._client() as client, _dask_failures(client):
            make = joblib.delayed(make_shard)
            with joblib.parallel_config(
                "dask",
                client=client,
                pure=False,
                wait_for_workers_timeout=WORKERS_SECONDS,
            ):
                # It takes its backend from the configuration when it is made, not when it is run.
                parallel = joblib.Parallel(
                    batch_size=1, pre_dispatch="all", return_as="generator_unordered"
                )
                results = parallel(make(task, job, backbone.recipe) for task in tasks)
            for result in results:
                if not result.busy:
                    advance(result.task.rows)
                yield result

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        """Connect to the scheduler, or to a cluster that lives as long as the block."""
        try:
            import distributed
        except ImportError as error:
            raise InputError(
                "`engine` dask needs Dask, which isn't installed",
                "Install it with `pip install 'featx[dask]'`, or use `engine` local.",
            ) from error
        if self.scheduler is None:
            with (
                distributed.SpecCluster(
                    workers=_local_workers(self.workers),
                    scheduler={
                        "cls": distributed.Scheduler,
                        "options": {"host": "127.0.0.1", "port": 0, "dashboard": False},
                    },
                    silence_logs=logging.CRITICAL,
                ) as cluster,
                distributed.Client(cluster, set_as_default=False) as client,
            ):
                yield client
            return
        # A client that can't connect goes on trying in the background: find that out first.
        try:
            asyncio.run(_reach(self.scheduler))
        except (OSError, ValueError) as error:
            raise InputError(
                f"there is no Dask scheduler at {self.scheduler} ({first_line(error)[:160]})",
                "Start one with `dask scheduler`, and workers with `dask worker ADDRESS`.",
            ) from error
        with distributed.Client(self.scheduler, set_as_default=False) as client:
            yield client


def make_shard(task: ShardTask, job: Job, recipe: BackboneRecipe) -> ShardResult:
    """Make one shard in this process, which is a worker."""
    if not job.root.is_dir():
        raise InputError(
            f"a worker finds no images at {job.root}", "Share that folder with every worker."
        )
    backbone = _backbone_of_worker(recipe)
    require_equal(
        "a worker's backbone isn't the one of the cache",
        job.spec.backbone.model_dump(mode="json"),
        backbone.spec.model_dump(mode="json"),
        "Give every worker the same weights file and the same version of featx.",
    )
    (result,) = Pipeline(job, backbone).run([task], lambda _: None)
    return result


async def _reach(address: str) -> None:
    """Connect once, and hang up."""
    from distributed.comm import connect

    comm = await connect(address, timeout=CONNECT_SECONDS)
    await comm.close()


@functools.lru_cache(maxsize=1)
def _backbone_of_worker(recipe: BackboneRecipe) -> Backbone:
    """Load a backbone once a worker, whose standard error may be the user's."""
    import_tensorflow()
    return load_recipe(recipe)


def _local_workers(workers: int | None) -> dict[int, dict[str, Any]]:
    """Describe worker processes: one a GPU, else the processor's cores divided among them."""
    import distributed

    gpus = gpu_count()
    count = workers or gpus or 2
    threads = max(1, joblib.cpu_count() // count)
    specs = {}
    for number in range(count):
        environment = {
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_NUM_INTRAOP_THREADS": str(threads),
            "TF_NUM_INTEROP_THREADS": "1",
            "OMP_NUM_THREADS": str(threads),
        }
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = str(number % gpus)
        options = {
            "nthreads": 1,
            "memory_limit": 0,
            "env": environment,
            "dashboard": False,
            "silence_logs": logging.CRITICAL,
        }
        specs[number] = {"cls": distributed.Nanny, "options": options}
    return specs


@contextlib.contextmanager
def _dask_failures(client: Any) -> Iterator[None]:
    """Put what can go wrong with a cluster into one line."""
    import distributed

    try:
        yield
    except distributed.KilledWorker as error:
        raise FeatxError(
            f"one worker after another of {client.scheduler.address} died on the same shard",
            "Look at their logs: most often memory ran out (lower `batch_size` or `workers`). "
            "Finished shards are kept.",
        ) from error
    except TimeoutError as error:
        raise InputError(
            f"the cluster {client.scheduler.address} has no workers",
            f"Start some with `dask worker {client.scheduler.address}`.",
        ) from error
