"""The notebook needs the extra `docs`; where it is not installed, its tests are left out."""

from importlib.util import find_spec

collect_ignore = [] if find_spec('nbclient') else ['test_first_steps.py']
