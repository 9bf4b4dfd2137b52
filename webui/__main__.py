"""`python -m webui`: the server and the command line."""

import sys

from webui.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
