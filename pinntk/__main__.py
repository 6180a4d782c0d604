import sys

from pinntk.cli import main

sys.exit(main())
