"""What the tests of PINA have: PINA, or they are left out."""

import pytest

pytest.importorskip("pina")
