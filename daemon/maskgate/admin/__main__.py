"""Run the command as `python -m maskgate.admin`, where the console script is not at hand."""

from maskgate.admin import main

main()
