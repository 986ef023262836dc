from featx_cache import open_cache
def test_a(tiny_cache):
    c = open_cache(tiny_cache)
    print(c.images.groupby(["split","label"]).size(), c.shape, c.images.group.nunique(), c.shard_names)
    import numpy as np
    x = c.read(c.row_numbers(splits=None, copies=True)).astype("f4")
    print(x.min(), x.max(), x.std())
def test_ro(read_only_folder, tmp_path):
    import pytest
    with pytest.raises(OSError):
        (read_only_folder/"a").write_text("x")
def test_sd(small_disk):
    import pytest
    d = small_disk("64k")
    with pytest.raises(OSError):
        (d/"a").write_bytes(b"x"*100000)
