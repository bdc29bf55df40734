"""Writes the samples of a new format of manifests, tests/samples/format-<N>; see docs/upgrading.md. It is done once.

PYTHONPATH=plugins:scripts:tests python scripts/make_samples.py
"""

import sys

from support.samples import SAMPLES, make_format  # type: ignore[import-not-found,import-untyped,unused-ignore]  # tests

if __name__ == "__main__":
    try:
        make_format()
    except FileExistsError as error:
        sys.exit(f"{error.filename} is there: what a format wrote stays as it was. A change is a new format.")
    print(f"Written below {SAMPLES}; commit it.")
