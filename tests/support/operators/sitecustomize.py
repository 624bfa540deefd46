"""For PYTHONPATH=tests/support/operators:tests: every process declares what torchvision lacks."""

from support.torchvision_operators import declare_missing_operators

declare_missing_operators()
