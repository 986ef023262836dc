"""``python -m featx`` is ``featx``."""

from featx_cli.__main__ import main

if __name__ == "__main__":
    main()
