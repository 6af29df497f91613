"""Run the command line with `python -m cytosol.cli`, for machines without the script."""

from cytosol.cli import main

main()
