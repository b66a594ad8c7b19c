"""``python -m alertdrill`` is the ``alertdrill`` command."""

from alertdrill.cli import main

main()
