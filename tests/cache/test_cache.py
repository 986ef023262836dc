"""A finished cache: rows by split and copy, the virtual index, and every kind of non-cache."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import SPEC, Made  # placeholder

from featx_cache import (
    DamagedShardError,
    InputError,
    NotACacheError,
    open_cache,
)
