"""What compressing the shards costs and saves, on the embeddings of a real cache.

Writes the same rows with each of the filters that every HDF5 reader has, whole shard by whole
shard, and reads rows back in random order, each kind in turn and several rounds. Usage::

    python benchmarks/compression.py CACHE [--rows 1200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

import featx
from featx.extraction._extract_images import ROWS_PER_SHARD
from featx_cache._shards import RowKeys, read_embeddings, write_shard

KINDS = (None, "lzf", "gzip")


def main() -> None:
    """Print one line a kind of compression."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache")
    parser.add_argument("--rows", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cache = featx.load_cache(arguments.cache)
    random = np.random.default_rng(0)
    rows = np.sort(random.permutation(len(cache.rows))[: arguments.rows])
    embeddings = cache.read(rows)
    print(
        f"{len(rows)} embeddings {embeddings.shape[1:]} {embeddings.dtype} of {arguments.cache}; "
        f"{100 * float((embeddings == 0).mean()):.0f} % of the values are zero\n"
    )
    per_shard = min(ROWS_PER_SHARD, len(embeddings))
    keys = RowKeys.of([(f"{n:064x}", 0) for n in range(per_shard)])
    written: dict[str | None, list[float]] = {kind: [] for kind in KINDS}
    whole: dict[str | None, list[float]] = {kind: [] for kind in KINDS}
    single: dict[str | None, list[float]] = {kind: [] for kind in KINDS}
    sizes = dict.fromkeys(KINDS, 0)
    for _ in range(arguments.rounds):
        for kind in KINDS:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder)
                shards = len(embeddings) // per_shard
                started = time.perf_counter()
                for n in range(shards):
                    block = embeddings[n * per_shard : (n + 1) * per_shard]
                    write_shard(path / f"{n}.h5", block, keys, spec="{}", compression=kind)
                written[kind].append(shards * per_shard / (time.perf_counter() - started))
                sizes[kind] = sum(file.stat().st_size for file in path.iterdir())
                started = time.perf_counter()
                for n in range(shards):
                    read_embeddings(path / f"{n}.h5")
                whole[kind].append(shards * per_shard / (time.perf_counter() - started))
                started = time.perf_counter()
                for place in random.integers(shards * per_shard, size=400):
                    shard, row = divmod(int(place), per_shard)
                    read_embeddings(path / f"{shard}.h5", np.array([row]))
                single[kind].append(400 / (time.perf_counter() - started))
    stored = len(embeddings) // per_shard * per_shard
    print("| compression | kB an embedding | written, rows/s | read in shards | random rows |")
    print("|---|---|---|---|---|")
    for kind in KINDS:
        speeds = " | ".join(f"{median(s[kind]):,.0f}" for s in (written, whole, single))
        print(f"| {kind or 'none'} | {sizes[kind] / stored / 1000:.1f} | {speeds} |")


if __name__ == "__main__":
    main()
