"""``featx cache info`` and ``featx cache verify``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from featx.extraction import ExtractionSpec
from featx_cache import open_cache

if TYPE_CHECKING:
    from tests.cli.conftest import Featx


class TestInfo:
    def test_json_tells_what_the_cache_holds(self, tiny_cache: Path, featx: Featx) -> None:
        answer = featx("cache", "info", tiny_cache, "--json")
        facts, cache = json.loads(answer.out), open_cache(tiny_cache)
        assert answer.code == 0
        assert answer.err == ""
        assert facts["images"] == len(cache.images) == sum(facts["counts"].values())
        assert facts["embeddings"] == len(cache.rows)
        assert facts["patients"] == 24
        assert facts["embedding_shape"] == [1, 1, 512]
        assert facts["dtype"] == "float16"
        assert facts["shards"] == len(cache.shard_names)
        assert facts["bytes"] == cache.bytes_on_disk()
        assert facts["classes"] == ["NORMAL", "PNEUMONIA"]
        assert set(facts["counts"]) == {
            f"{split}/{label}"
            for split in ("train", "val", "test")
            for label in ("NORMAL", "PNEUMONIA")
        }
        assert facts["skipped"] == 0
        assert facts["spec"] == cache.spec
        assert facts["fingerprint"] == ExtractionSpec.model_validate(cache.spec).fingerprint
        assert facts["path"] == str(tiny_cache)

    def test_table_tells_the_same_in_words(self, tiny_cache: Path, featx: Featx) -> None:
        answer = featx("cache", "info", tiny_cache)
        assert answer.code == 0
        lines = [" ".join(line.split()) for line in answer.out.splitlines()]
        for line in (
            "embedding shape 1x1x512",
            "classes NORMAL (negative), PNEUMONIA (positive)",
            "spec: backbone name vgg16",
            "spec: augmentation copies 1",
            "spec: storage_dtype float16",
            "The embeddings are untrained (random weights).",
        ):
            assert line in lines
        assert any(line.startswith("counts: train/NORMAL") for line in lines)

    def test_a_long_path_is_not_folded(
        self, tiny_cache: Path, tmp_path: Path, featx: Featx
    ) -> None:
        cache = tmp_path / ("of the X-rays " * 12) / "embeddings"
        shutil.copytree(tiny_cache, cache)
        assert featx("cache", "info", cache).out.splitlines()[0] == f"Cache {cache}"


class TestVerify:
    def test_a_whole_cache_is_said_to_be_whole(self, tiny_cache: Path, featx: Featx) -> None:
        answer = featx("cache", "verify", tiny_cache)
        assert (answer.code, answer.out) == (0, "")
        assert answer.error == f"Nothing is damaged in {tiny_cache}: 4 shards."

    def test_every_damaged_shard_is_a_line(
        self, tiny_cache: Path, tmp_path: Path, featx: Featx
    ) -> None:
        cache = tmp_path / "cache"
        shutil.copytree(tiny_cache, cache)
        first, second, *_ = sorted((cache / "shards").glob("*.h5"))
        content = bytearray(first.read_bytes())
        content[len(content) // 2] ^= 1  # in the compressed embeddings
        first.write_bytes(content)
        second.unlink()
        answer = featx("cache", "verify", cache)
        assert answer.code == 2
        one, other = answer.out.splitlines()
        assert one.startswith(f"damaged shard {first}: ")
        assert other == f"damaged shard {second}: the file is missing"
        assert answer.error.startswith("featx: error: 2 of 4 shards in")
