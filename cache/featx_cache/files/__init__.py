"""Files that appear whole or not at all, and locks between processes and machines.

This is for the packages of featx. Nothing of it is API.
"""

from featx_cache.files._atomic import NotRegularFileError as NotRegularFileError
from featx_cache.files._atomic import atomic_folder as atomic_folder
from featx_cache.files._atomic import atomic_path as atomic_path
from featx_cache.files._atomic import is_there as is_there
from featx_cache.files._atomic import make_folder as make_folder
from featx_cache.files._atomic import open_regular as open_regular
from featx_cache.files._atomic import remove_leftovers_of as remove_leftovers_of
from featx_cache.files._atomic import storage_errors as storage_errors
from featx_cache.files._atomic import sync as sync
from featx_cache.files._claims import Claims as Claims
from featx_cache.files._locks import LOCK_WAIT_SECONDS as LOCK_WAIT_SECONDS
from featx_cache.files._locks import lock as lock
from featx_cache.files._outputs import is_stream as is_stream
from featx_cache.files._outputs import output_path as output_path

__all__: list[str] = []
