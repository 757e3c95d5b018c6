"""``python -m pimsim`` is the ``pimsim`` command."""

from pimsim.cli import main

main()
