"""What the Python clients share: where the server is, and how results are told.

A result is a line of JSON on standard output: {"feature": ..., "result": "yes" | "no" | "-", "note": ...}.
"""

import json
import os
import sys
import traceback

HOST = os.environ["MILLRACE_HOST"]
PORT = int(os.environ["MILLRACE_PORT"])
USER = os.environ["MILLRACE_USER"]
PASSWORD = os.environ["MILLRACE_PASSWORD"]
CA = os.environ["MILLRACE_CA"]


class Absent(Exception):
    """The driver has nothing of the kind."""


def tell(**line):
    print(json.dumps(line), flush=True)


def restart():
    """Has the server killed and started again at the same address."""
    tell(restart=True)
    sys.stdin.readline()


def run(tests):
    """Runs tests, functions by feature."""
    for feature, test in tests.items():
        try:
            test()
            tell(feature=feature, result="yes")
        except Absent as absent:
            tell(feature=feature, result="-", note=str(absent))
        except Exception as error:
            traceback.print_exc()
            tell(feature=feature, result="no", note=f"{type(error).__name__}: {error}".split("\n")[0])


def same(got, wanted):
    if got != wanted or type(got) is not type(wanted):
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


def fails(error, call):
    """The error of a call that must fail so."""
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"no {error.__name__}")
