"""python -m xdptables"""

from .cli.main import main

main()
